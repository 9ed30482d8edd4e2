"""The model card of an exported network, as the Hugging Face Hub shows it, with figures as they were measured."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from racl_tf import file_names
from racl_tf.errors import printable
from racl_tf.tables import format_radius, markdown_table, markdown_text

_HUB_DATASETS = {"cifar10": "uoft-cs/cifar10", "cifar100": "uoft-cs/cifar100", "mnist": "ylecun/mnist"}
_NORMS = {"linf": "L-infinity", "l2": "L2"}
_LIBRARIES = {"saved_model": "tf-keras", "keras": "keras", "onnx": "onnx", "litert": "tflite", "torch": "pytorch"}

USES = {
    "saved_model": 'tf.saved_model.load("{path}").signatures["serving_default"](images=...)',
    "keras": 'racl_tf.from_pretrained("{path}")',
    "onnx": f'onnxruntime.InferenceSession("{{path}}/{file_names.ONNX_MODEL}").run(["logits"], {{{{"images": ...}}}})',
    "litert": (
        f'Interpreter(model_path="{{path}}/{file_names.LITERT_MODEL}").get_signature_runner("serving_default")'
        "(images=...)"
    ),
    "torch": f'network.load_state_dict(safetensors.torch.load_file("{{path}}/{file_names.TORCH_MODEL}"))',
}
"""By format, the Python that loads what lies at `{path}`."""

TAKES = {form: "images in [0, 1]" for form in USES} | {
    "torch": f"images normalised as {file_names.DESCRIPTION} says, (images - mean) / std"
}
"""By format, the images that it takes, float32."""


def render_model_card(description: Mapping[str, Any], form: str, training: Mapping[str, Any]) -> str:
    """Returns the model card of an exported network in Markdown, with the front matter of the Hugging Face Hub.

    It says what the network is, what it was trained on and to withstand, what was measured of it, with intervals, and
    what that does not say. Figures that were not measured are not in it. Its last line is a comment, by which
    `is_unchanged` tells whether somebody has changed it.

    Arguments:
        description: of the network, as `pretrained_description` returns it, `results` as in a run's results.json.
        form: the format that it is exported in, a key of `USES`.
        training: the settings that it was trained with, by section.
    """
    text = "\n".join(
        [
            *_front_matter(description, form, training),
            "",
            f"# {markdown_text(_name(description))} for {markdown_text(training['data']['name'])}",
            "",
            *_network(description, form),
            "",
            "```python",
            USES[form].format(path="."),
            "```",
            "",
            "## Training",
            "",
            *_training(description, training),
            "",
            "## Measured",
            "",
            *_measured(description),
            "",
            "## Limits",
            "",
            *_limits(description),
            "",
        ]
    )
    return f"{text}\n{_mark(text)}\n"


def is_unchanged(card: str) -> bool:
    """Returns whether a model card is as `render_model_card` made it.

    >>> is_unchanged("# My own words")
    False
    """
    text, _, mark = card.removesuffix("\n").rpartition("\n")
    return mark == _mark(text)


def _mark(text: str) -> str:
    return f"<!-- written by racl-export {hashlib.sha256(text.encode()).hexdigest()[:16]} -->"


def _front_matter(description: Mapping[str, Any], form: str, training: Mapping[str, Any]) -> Iterator[str]:
    """Yields the lines of the front matter: YAML, of which JSON is a part."""
    dataset = training["data"]["name"]
    fields: dict[str, Any] = {
        "library_name": _LIBRARIES[form],
        "pipeline_tag": "image-classification",
        "tags": ["adversarial-robustness", "racl_tf", *([form] if form != "saved_model" else [])],
    }
    if dataset in _HUB_DATASETS:
        fields["datasets"] = [_HUB_DATASETS[dataset]]
    if results := description["results"]:
        metrics = [
            {"type": "accuracy", "name": printable(f"accuracy, {name}"), "value": row["accuracy"]}
            for name, row in results["results"].items()
        ]
        measured = {
            "task": {"type": "image-classification"},
            "dataset": {
                "type": _HUB_DATASETS.get(results["dataset"], printable(results["dataset"])),
                "name": printable(results["dataset"]),
                "split": "test",
            },
            "metrics": metrics,
        }
        fields["model-index"] = [{"name": printable(_name(description)), "results": [measured]}]
    yield "---"
    yield from (f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items())
    yield "---"


def _name(description: Mapping[str, Any]) -> str:
    """Returns the name of a network: its genotype's where that has one, else its class's."""
    genotype = json.loads(description["genotype"]) if description["genotype"] else {}
    return genotype.get("name") or description["network"]


def _network(description: Mapping[str, Any], form: str) -> Iterator[str]:
    height, width, channels = description["input_shape"]
    names = description["class_names"]
    yield (
        f"An image classifier with {description['parameters']:,} trainable parameters: images of {height}x{width} "
        f"pixels and {channels} channel{'s' if channels > 1 else ''}, float32 in [0, 1], to the logits of "
        f"{description['classes']} classes{'' if names is None else ':'}"
    )
    if names is not None:
        yield f"{', '.join(map(markdown_text, names))}."
    if form == "torch":
        yield (
            "This state dict takes images (batch, channels, height, width) that are normalised already, "
            f"(images - mean) / std, by the mean and the standard deviation in `{file_names.DESCRIPTION}`."
        )
    elif description["mean"] is not None:
        yield f"Images are normalised inside, by the mean and the standard deviation in `{file_names.DESCRIPTION}`."
    if sizes := description["sizes"]:
        values = ", ".join(f"{markdown_text(name)} {value}" for name, value in sizes.items())
        yield f"\nIt is a `{description['network']}` of racl_tf {description['racl_tf']}: {values}."
    if description["genotype"]:
        yield f"Its genotype is in `{file_names.DESCRIPTION}`."


def _training(description: Mapping[str, Any], training: Mapping[str, Any]) -> Iterator[str]:
    data, settings = training["data"], training["train"]
    size = "" if data["train_size"] is None else f", a stratified choice of {data['train_size']:,} images"
    yield f"Trained on the training images of {markdown_text(data['name'])}{size}, for {settings['epochs']} epochs."
    if settings["initial"]:
        yield f"Its weights began as those of {markdown_text(settings['initial'])}."
    threat = description["threat"]
    if threat is None:
        yield "\nIt was trained on clean images alone, to withstand no attack."
    else:
        yield (
            f"\nThreat model: changes of an image within the {_NORMS[threat['norm']]} ball of radius "
            f"{format_radius(threat['eps'])}, in units of pixels in [0, 1]. Defence: "
            f"{markdown_text(threat['defence'])}, {threat['attack_steps']} attack steps of "
            f"{format_radius(threat['step_size'])} where it has such."
        )


def _measured(description: Mapping[str, Any]) -> Iterator[str]:
    results = description["results"]
    if not results:
        yield "Nothing was measured of this network. `racl-evaluate` does so."
        return
    rows = []
    for name, row in results["results"].items():
        low, high = row["interval"]
        rows.append([name, f"{100 * row['accuracy']:.1f}", f"{100 * low:.1f} to {100 * high:.1f}", str(row["correct"])])
    norm, day = _NORMS[results["norm"]], markdown_text(results["date"])
    yield (
        f"On {results['images']:,} test images of {markdown_text(results['dataset'])}, under attacks in the "
        f"{norm} ball of radius {format_radius(results['eps'])}, on {day}. "
        "`worst_case` counts the images that withstand every one of the attacks; intervals are Wilson's."
    )
    yield ""
    yield markdown_table(["images", "accuracy, %", "95% interval, %", "correct"], rows)


def _limits(description: Mapping[str, Any]) -> Iterator[str]:
    yield "* Accuracy under attacks is an upper bound of robust accuracy: a stronger attack can only lower it."
    yield "* It is no certificate, and says nothing of other norms, larger radii or changes that are no such ball."
    yield "* Figures hold for images like the test images; intervals cover the choice of images, not training's seed."
    findings = ((description["results"] or {}).get("masking") or {}).get("findings", ())
    for finding in findings:
        if finding["verdict"] == "suspicious":
            measure, meaning = map(markdown_text, (finding["measure"], finding["meaning"]))
            yield f"* Sign of gradient masking: {measure}. {meaning}"
    if description["results"] and not findings:
        yield "* Signs of gradient masking were not looked for."

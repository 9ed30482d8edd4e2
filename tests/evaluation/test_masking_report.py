"""What checks for gradient masking found, as it is judged, shown and recorded."""

import json

import pytest

from racl_tf.errors import UsageError
from racl_tf.evaluation import MaskingCheck, MaskingReport


@pytest.mark.parametrize(
    ("count", "images", "verdict"),
    [(0, 0, "not applicable"), (0, 100, "pass"), (5, 100, "pass"), (9, 100, "pass"), (13, 100, "suspicious")],
)
def test_a_verdict_leaves_room_for_chance(count, images, verdict) -> None:
    """The Wilson interval of 9 of 100 begins at 4.8%, that of 13 of 100 at 7.8%."""
    assert MaskingCheck("more steps", "", count, images, 0.05, "").verdict == verdict


REPORT = MaskingReport(
    (
        MaskingCheck("noise", "fall to noise", 1, 9, 0.6, "Evaluate by autoattack."),
        MaskingCheck("randomness", "get other logits", 3, 10, 0.0, "Average gradients."),
        MaskingCheck("transfer", "fall to others", 0, 0, 0.02, "Attack a stand-in."),
    ),
    images=10, eps=0.1, norm="linf", seed=3,
)  # fmt: skip


def test_what_is_shown_and_recorded() -> None:
    shown = str(REPORT)
    assert REPORT.suspicious == ("randomness",)
    assert "3 of 10" in shown
    assert "Average gradients." in shown
    assert "Evaluate by autoattack." not in shown  # advice is for what is suspicious
    assert shown.isascii()
    record = json.loads(json.dumps(REPORT.to_dict()))
    assert [row["verdict"] for row in record["findings"]] == ["pass", "suspicious", "not applicable"]
    assert MaskingReport.from_dict(record) == REPORT
    with pytest.raises(UsageError, match=r"Unknown check 'nois'. Did you mean 'noise'"):
        REPORT["nois"]


def test_only_what_is_suspicious_is_summed_up() -> None:
    sound = MaskingCheck("randomness", "get other logits", 0, 100, 0.0, "Average gradients.")
    random = MaskingCheck("randomness", "get other logits", 9, 100, 0.0, "Average gradients.")
    report = MaskingReport((sound,), 100, 0.1, "linf", 0)
    assert report.summary() == "No signs of gradient masking: 1 checks on 100 images."
    report = MaskingReport((sound, random), 100, 0.1, "linf", 0)
    assert report.summary() == "Gradient masking? 9 of 100 images get other logits. Average gradients."

"""Does all of it on small real images: search, adversarial training, attack, export."""

from ml_collections import ConfigDict

from racl_tf.runs.command_line import run_program


def quickstart(config: ConfigDict, workdir: str) -> None:
    import rich

    from racl_tf.reporting import render_text
    from racl_tf.runs.evaluate import run_evaluation
    from racl_tf.runs.export import run_export
    from racl_tf.runs.search import run_search
    from racl_tf.runs.train import run_training

    genotype = run_search(config, workdir)
    run_training(config, workdir)
    evaluation, findings = run_evaluation(config, workdir)
    path, difference = run_export(config, workdir)
    print()
    rich.print(render_text(genotype))
    masking = ", ".join(findings.suspicious) if findings else "not looked for"
    print(f"\nDrawing:    {workdir}/search/genotype.png\n\n{evaluation}")
    print(f"Signs of gradient masking: {masking or 'none'}")
    print(f"SavedModel: {path} (reloaded: logits differ by at most {difference:.1e})")


def run() -> None:
    run_program(quickstart, __doc__, config="digits")


if __name__ == "__main__":
    run()

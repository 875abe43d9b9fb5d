"""The line that people read while a run goes on."""


def progress_line(
    epoch, num_epochs, step, num_steps, loss, examples_per_second, quality, target, metric,
    seconds_left,
):  # fmt: skip
    """One line of text.  quality: None before the first evaluation.  seconds_left: at the most,
    until the epochs are over."""
    shown = "none yet" if quality is None else f"{quality:.3f}"
    minutes, seconds = divmod(round(seconds_left), 60)
    return (
        f"epoch {epoch}/{num_epochs}  step {step}/{num_steps}  loss {loss:.3f}  "
        f"{examples_per_second:.0f} examples/s  {metric} {shown} of {target:g}  "
        f"at most {minutes}:{seconds:02d} left"
    )

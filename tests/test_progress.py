"""Progress of a job, as lines and as nothing; the redrawn bar is checked for what stands in it."""

import io

from rich.console import Console

from weakspot import progress

STEP = {"step": 40, "running_loss": 0.6931, "loss": 0.7, "bad_heat": 0.52, "good_heat": 0.48, "alpha": 7.5}


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def lines(every: float = 5.0) -> tuple[progress.Lines, Clock, io.StringIO]:
    out, clock = io.StringIO(), Clock()
    return progress.Lines(Console(file=out, width=200), every=every, clock=clock), clock, out


def test_lines_come_every_few_seconds_and_tell_stage_losses_heats_alpha_and_time_left() -> None:
    shows, clock, out = lines()
    shows.start("search", 120)
    for step in range(1, 41):
        clock.now += 0.25
        shows.step(STEP | {"step": step})
    said = out.getvalue().splitlines()
    assert said[0] == "search: up to 120 iterations"
    assert len(said) == 3
    assert (
        said[2]
        == "search 40/120  loss 0.693  heat of the bad 0.520  of the good 0.480  alpha 7.500  0:20 left of this stage"
    )


def test_the_last_iteration_is_said_when_a_stage_ends_early() -> None:
    shows, _, out = lines()
    shows.start("search", 120)
    shows.step(STEP | {"step": 7})
    shows.end()
    assert "search 7/120" in out.getvalue()
    shows.end()
    assert out.getvalue().count("search 7/120") == 1


def test_a_note_is_shown_as_it_is() -> None:
    shows, _, out = lines()
    shows.note("a[1] is no markup [bold]at all[/bold]")
    assert out.getvalue() == "a[1] is no markup [bold]at all[/bold]\n"


def test_the_bar_shows_stage_iteration_and_figures() -> None:
    out = io.StringIO()
    shows = progress.Bar(Console(file=out, width=160, force_terminal=True))
    shows.start("locate", 120)
    shows.step(STEP)
    shows.note("half-way")
    shows.end()
    shows.end()
    for text in ("locate", "40/", "loss 0.693", "of the good 0.480", "half-way"):
        assert text in out.getvalue()


def test_quiet_says_nothing(capsys: object) -> None:
    with progress.progress(quiet=True) as shows:
        shows.start("search", 3)
        shows.step(STEP)
        shows.note("text")
    assert capsys.readouterr() == ("", "")  # type: ignore[attr-defined]


def test_a_log_gets_lines_on_stderr_and_nothing_on_stdout(capsys: object) -> None:
    with progress.progress(quiet=False) as shows:
        shows.start("search", 3)
        shows.step(STEP)
    out, err = capsys.readouterr()  # type: ignore[attr-defined]
    assert out == ""
    assert "search 40/3" in err


def test_counting_takes_whatever_a_job_tells() -> None:
    with progress.counting("images", quiet=True) as on_image:
        on_image(1, 2)
        on_image(2, 2, object())


def test_time_is_told_as_a_clock_does() -> None:
    assert [progress.clock_time(seconds) for seconds in (0, 75.4, 4000)] == ["0:00", "1:15", "1:06:40"]

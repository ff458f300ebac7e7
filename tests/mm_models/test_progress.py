"""A bar on a terminal, plain lines elsewhere; the clock is turned by hand."""

import io

import pytest

from mm_models.progress import ProgressBar


class _Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_plain_lines_have_rate_and_time_left_and_come_at_intervals(clock):
    stream = io.StringIO()
    progress = ProgressBar(100, "clips", stream=stream)
    progress.start()
    for clock[0], done in ((5.0, 10), (20.0, 40), (25.0, 50), (40.0, 100)):
        progress.update(done)
    progress.finish()
    assert stream.getvalue().splitlines() == [
        "40/100 clips, 2.00 clips/s, 00:30 left",
        "100/100 clips, 2.50 clips/s",
        "100/100 clips in 40 s, 2.50 clips/s",
    ]


def test_what_was_done_before_counts_for_neither_rate_nor_time_left(clock):
    stream = io.StringIO()
    progress = ProgressBar(100, "steps", stream=stream)
    progress.start(60)
    clock[0] = 10.0
    progress.show(80, "loss 0.5000")
    assert stream.getvalue() == "80/100 steps, 2.00 steps/s, 00:10 left, loss 0.5000\n"


def test_time_left_follows_the_share_where_there_is_one(clock):
    stream = io.StringIO()
    progress = ProgressBar(100, "items", stream=stream)
    progress.start()
    clock[0] = 30.0
    progress.update(10, share=0.75)
    assert stream.getvalue() == "10/100 items, 0.33 items/s, 00:10 left\n"


def test_a_terminal_has_one_line_that_messages_and_tables_do_not_tear(clock):
    stream = _Terminal()
    progress = ProgressBar(100, "steps", stream=stream)
    progress.start()
    clock[0] = 10.0
    progress.update(50)
    clock[0] = 10.1
    progress.update(51)  # Too soon to be drawn.
    progress.say("saved")
    progress.table("scores", {"top_1": 0.5})
    progress.close()
    shown = stream.getvalue()
    assert "50/100 steps, 5.00 steps/s, 00:10 left" in shown and "51/100" not in shown
    lines = [line.rpartition("\r")[2] for line in shown.splitlines(keepends=True)]
    for message in ("saved", "scores", f"  {'top_1':<48} 0.5000"):
        assert f"{message}\n" in lines


def test_a_quiet_one_writes_nothing():
    for stream in (io.StringIO(), _Terminal()):
        progress = ProgressBar(2, "steps", stream=stream, enabled=False)
        progress.start()
        progress.show(1)
        progress.say("saved")
        progress.finish()
        assert not stream.getvalue()

"""The scheduler over days: overlap, misfires, retries, time limits, alarms, and restarts."""

import datetime
import json
import math
import os
import re
import secrets
from pathlib import Path

import pytest

from components.quality_gates import JudgedGate
from operations.notifications.events import AlarmKind
from operations.scheduling.look import Seen
from pipeline.errors import ExitCode

FAILED = {
    "status": "failed",
    "verdict": "none",
    "failure": {"node": "Trainer", "message": "oom", "changes": []},
}
DAY = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)
STOPPED = {
    "status": "failed",
    "verdict": "stopped",
    "failure": {"node": "DataGate", "message": "labels drifted", "changes": []},
}
DIVERGED = {
    **FAILED,
    "command": "python3 pipeline_runner.py run",
    "failure": {"node": "Trainer", "message": "the loss became nan", "changes": ["a.b=1"]},
}
CUT_OFF = {"status": "interrupted", "verdict": "none"}
REFUSED = {
    "status": "completed",
    "verdict": "refused",
    "gates": [
        JudgedGate("accuracy", "overall", 0.8512, 0.9, passed=False),
        JudgedGate("recall", "Boot", 0.9, 0.6, passed=True),
    ],
}


@pytest.fixture
def lines(capsys):
    """The lines that the scheduler printed since this was asked last."""

    def read():
        return capsys.readouterr().out.splitlines()

    return read


def ending(world, left, code):
    """A run that ends with this code, and leaves a receipt with these changes, or none."""
    commands = world.commands
    return commands.silent(code=code) if left is None else commands.leaving(left, code=code)


def stand(world, run, code):
    """From now on nothing has changed since a run."""
    changes = {"standing_run": run, "exit_code": code}
    world.commands.seen = world.commands.seen.model_copy(update=changes)


def titles(world):
    return [title for title, _ in world.notifier.messages]


def test_runs_begin_when_they_are_due(world, lines):
    world.serve("05:30")
    assert world.commands.times == ["03:00:01", "04:00:01", "05:00:01"]
    assert world.commands.begun[0][1:] == ("/data", True)
    assert world.metrics.skips == []
    assert world.state.last_run.exit_code == 0
    assert world.state.last_run.scheduled.hour == 5
    assert world.metrics.next.hour == 6
    told = lines()
    log = world.file.parent / "20261123-030000.log"
    assert told[0] == f"2026-11-23 03:00:01 UTC  the run of 03:00 began; its output goes to {log}"
    page = world.locations.runs / "20261123-030001" / "review.html"
    assert told[1] == (
        "2026-11-23 03:00:31 UTC  run 20261123-030001 pushed version 2000000000, accuracy 0.945, "
        f"12 min 3 s, page {page}"
    )
    assert told[-1] == "2026-11-23 05:30:00 UTC  stopped"


def test_lines_have_the_time_of_the_zone(world, lines):
    world.serve("03:30", "0 4 * * *", "Europe/Berlin")
    assert lines()[0].startswith("2026-11-23 04:00:01 CET  the run of 04:00 began")


def test_a_run_that_is_due_while_another_is_at_work_is_skipped(world, lines):
    world.commands.runs = [world.commands.pushing(seconds=5400)]
    world.serve("05:30")
    assert world.commands.times == ["03:00:01", "05:00:01"]
    assert world.metrics.skips == ["overlap"]
    assert "04:00:00 UTC  skipped: the run of 03:00 is still at work" in "\n".join(lines())


def test_one_run_waits_where_that_is_asked_for(world, lines):
    world.commands.runs = [world.commands.pushing(seconds=9000)]
    world.serve("06:30", queue=True)
    # That of 4:00 waited until 5:30; that of 5:00 found it waiting.
    assert world.commands.times == ["03:00:01", "05:30:02", "06:00:01"]
    assert world.metrics.skips == ["overlap"]
    told = "\n".join(lines())
    assert "04:00:00 UTC  the run of 04:00 waits for the run of 03:00" in told
    assert "05:00:00 UTC  skipped: the run of 03:00 is still at work, and another waits" in told


def test_a_failed_run_is_retried_with_growing_pauses(world, lines):
    failing = [world.commands.leaving(FAILED, code=1) for _ in range(2)]
    world.commands.runs = failing
    world.serve("03:30", retries=3, backoff_seconds=60)
    assert world.commands.times == ["03:00:01", "03:01:32", "03:04:03"]
    assert [code for _, code in world.metrics.ended] == [1, 1, 0]
    assert world.state.last_run.exit_code == 0
    # A run that fails tells of it itself.
    assert world.notifier.messages == []
    told = "\n".join(lines())
    assert "run 20261123-030001 failed in Trainer after 12 min 3 s: oom" in told
    assert "retry 1 of 3 in 1 min" in told
    assert "retry 2 of 3 in 2 min" in told


def test_retries_have_an_end(world):
    world.commands.runs = [world.commands.leaving(FAILED, code=1) for _ in range(9)]
    world.serve("03:30", retries=2, backoff_seconds=1)
    assert len(world.commands.begun) == 3
    assert world.state.last_run.exit_code == 1


@pytest.mark.parametrize(
    ("code", "left", "told"),
    [
        (1, STOPPED, "was stopped in DataGate after 12 min 3 s: labels drifted"),
        (1, DIVERGED, "failed in Trainer after 12 min 3 s: the loss became nan"),
        (2, None, "the run says why"),
        (3, REFUSED, "was refused (accuracy of overall 0.8512 against 0.9000), accuracy 0.945"),
        (130, CUT_OFF, "was interrupted, not by the scheduler"),
    ],
)
def test_what_a_retry_cannot_mend_is_not_retried(world, lines, code, left, told):
    world.commands.runs = [ending(world, left, code)]
    world.serve("03:30", retries=3, backoff_seconds=1)
    assert len(world.commands.begun) == 1
    assert world.state.last_run.exit_code == code
    assert told in "\n".join(lines())


@pytest.mark.parametrize(
    ("code", "left", "told"),
    [
        (-9, CUT_OFF, "run 20261123-030001 was killed by SIGKILL: the run says why"),
        (-11, None, "the run of 03:00 was killed by SIGSEGV"),
        (134, None, "the run of 03:00 ended with exit code 134"),
        (1, None, "the run of 03:00 ended with exit code 1"),
        (1, CUT_OFF, "run 20261123-030001 ended with exit code 1"),
    ],
)
def test_a_crash_is_retried_and_at_last_an_alarm(world, lines, code, left, told):
    world.commands.runs = [ending(world, left, code) for _ in range(2)]
    world.serve("03:30", retries=1, backoff_seconds=1)
    assert len(world.commands.begun) == 2
    assert world.state.last_run.exit_code == 1
    assert told in "\n".join(lines())
    ((title, text),) = world.notifier.messages
    assert title == "clothes: a run broke off"
    assert text == world.state.last_run.text
    assert world.metrics.alarms == ["run"]


def test_a_locked_store_is_retried_and_at_last_an_alarm(world):
    world.commands.locked = 1
    world.serve("03:30", retries=1, backoff_seconds=1)
    assert len(world.commands.begun) == 1
    assert world.notifier.messages == []
    world.commands.locked = 2
    world.serve("04:30", retries=1, backoff_seconds=1)
    ((title, text),) = world.notifier.messages
    assert title == "clothes: a run cannot start"
    assert text.endswith("metadata.db is locked by another process")


def test_a_damaged_store_is_an_alarm_and_not_retried(world):
    world.commands.bad_input = "metadata.db is damaged"
    world.serve("03:30", retries=3, backoff_seconds=1)
    assert len(world.commands.looks) == 1
    assert world.notifier.messages == [("clothes: a run cannot start", "metadata.db is damaged")]


def test_a_run_is_known_by_its_attempt_whatever_the_clock_said(world):
    """Before it, somebody ran by hand under a clock that was set to the future."""
    ahead = world.commands.pushing()
    ahead.at_end, write = None, ahead.at_end
    world.commands.attempt = None
    world.commands.begun.append((world.clock.now().replace(year=2099), "/data", True))
    write(0)
    world.commands.runs = [world.commands.pushing(), world.commands.leaving(FAILED, code=1)]
    world.serve("04:30")
    assert world.metrics.ended == [("20261123-030001", 0), ("20261123-040001", 1)]


def test_a_clock_that_is_set_back_does_not_silence_the_schedule(world, lines):
    def set_back(code):
        write(code)
        world.clock.time = begin - datetime.timedelta(days=1)

    begin, wrong = world.clock.time, world.commands.pushing()
    wrong.at_end, write = set_back, wrong.at_end
    # The last of them falls on the second of the first, and leaves no receipt.
    world.commands.runs = [wrong, world.commands.pushing(), OSError(11, "not now")]
    world.serve("03:30", cron="0 3 * * *")
    assert [time.day for time, _, _ in world.commands.begun] == [23, 22, 23]
    assert "the clock was set back to 02:30" in "\n".join(lines())


def test_a_crash_that_a_retry_mends_is_no_alarm(world):
    world.commands.runs = [world.commands.silent(code=-9)]
    world.serve("03:30", retries=1, backoff_seconds=1)
    assert world.notifier.messages == []


@pytest.mark.parametrize(("code", "left"), [(0, None), (1, FAILED), (1, STOPPED), (3, REFUSED)])
def test_a_run_that_tells_how_it_ended_ends_the_alarm(world, lines, code, left):
    """A second crash in the same words is another fault, and told."""
    following = world.commands.pushing() if left is None else ending(world, left, code)
    crash = world.commands.silent(code=-9)
    world.commands.runs = [crash, following, crash]
    world.serve("05:30")
    broke, recovered = "clothes: a run broke off", "clothes recovered from: a run broke off"
    assert titles(world) == [broke, recovered, broke]
    assert "04:00:31 UTC  recovered from: a run broke off" in "\n".join(lines())
    assert list(world.state.alarms) == [AlarmKind.RUN]


def test_a_run_that_breaks_off_again_does_not_end_the_alarm(world):
    world.commands.runs = [world.commands.leaving(CUT_OFF, code=-9) for _ in range(2)]
    world.serve("04:30")
    assert titles(world) == ["clothes: a run broke off"] * 2


@pytest.mark.parametrize(("code", "left"), [(1, FAILED), (1, STOPPED), (-9, None)])
def test_bad_input_is_over_where_it_is_sound_however_the_run_ends(world, code, left):
    """The same file that is damaged again raises another alarm."""
    world.commands.bad_input = "span-2 is truncated."
    world.serve("03:30")
    world.commands.bad_input = None
    world.commands.runs = [ending(world, left, code)]
    world.serve("04:30")
    world.commands.bad_input = "span-2 is truncated."
    world.serve("05:30")
    cannot, broke = "clothes: a run cannot start", "clothes: a run broke off"
    told = [cannot, *([] if left else [broke]), "clothes recovered from: a run cannot start"]
    assert titles(world) == [*told, cannot]


def test_bad_input_that_only_a_run_finds_is_told_once(world):
    world.commands.runs = [world.commands.silent(code=2) for _ in range(3)]
    world.serve("05:30")
    assert titles(world) == ["clothes: a run cannot start"]


def killed(world):
    world.commands.runs = [world.commands.silent(code=-9)]


def held(world):
    world.commands.runs = [world.commands.silent(code=4)]


def damaged(world):
    """A look that finds another fault, and then a sound one."""
    world.commands.bad_input = "span-2 is truncated."
    world.serve(DAY + 1.2 * NIGHT, "0 3 * * *", data_due_seconds=12 * 3600)
    world.commands.bad_input = None


@pytest.mark.parametrize("then", [killed, held, damaged])
def test_what_a_run_refuses_is_not_over_with_a_sound_look(world, then):
    """The disk of the served model is not mounted, say: no look looks there."""
    cron, policy = "0 3 * * *", {"data_due_seconds": 12 * 3600}
    world.commands.runs = [world.commands.silent(code=2)]
    world.serve(DAY + NIGHT, cron, **policy)
    assert titles(world) == ["clothes: a run cannot start", "clothes: data is overdue"]
    then(world)
    world.serve(DAY + 1.6 * NIGHT, cron, **policy)
    recovered = "clothes recovered from: a run cannot start"
    assert recovered not in titles(world)
    world.commands.runs = [ending(world, FAILED, 1), world.commands.silent(code=2)]
    world.serve(DAY + 2.6 * NIGHT, cron, **policy)
    assert titles(world).count(recovered) == 1
    world.serve(DAY + 3.6 * NIGHT, cron, **policy)
    assert titles(world)[-1] == "clothes: a run cannot start"


def test_what_a_run_refuses_is_over_where_none_is_due_any_more(world):
    world.commands.runs = [world.commands.silent(code=2)]
    world.serve("03:30", on_change=True)
    stand(world, "20261122-030001", ExitCode.PUSHED)
    world.serve("04:30", on_change=True)
    world.commands.bad_input = "span-2 is truncated."
    world.serve("05:30", on_change=True)
    world.commands.bad_input = None
    world.serve("06:30", on_change=True)
    cannot, over = "clothes: a run cannot start", "clothes recovered from: a run cannot start"
    assert titles(world) == [cannot, over] * 2


def test_bad_input_is_over_where_a_look_for_overdue_data_finds_it_sound(world):
    world.serve("03:30", "0 3 * * *", data_due_seconds=3600)
    world.commands.bad_input = "a drive is gone."
    world.serve("04:05", "0 3 * * *", data_due_seconds=3600)
    world.commands.bad_input = None
    world.serve("04:30", "0 3 * * *", data_due_seconds=3600)
    assert titles(world)[1:] == [
        "clothes recovered from: a run cannot start",
        "clothes: data is overdue",
    ]


def locked_look(world):
    world.commands.locked = 1


def unstarted_look(world):
    look = world.commands.look

    def refuse(answer, log):
        world.commands.look = look
        raise OSError(11, "Resource temporarily unavailable")

    world.commands.look = refuse


@pytest.mark.parametrize("fault", [locked_look, unstarted_look])
def test_what_keeps_a_look_for_overdue_data_from_its_end_is_over_with_a_sound_one(world, fault):
    """The next run comes in a week, and a second fault until then is told, too."""
    cron, policy = "0 3 * * mon", {"data_due_seconds": 86_400}
    world.serve(DAY + NIGHT, cron, **policy)
    for day in (2, 3):
        world.commands.seen = Seen(data="/data", arrivals=day)
        fault(world)
        world.serve(DAY + day * NIGHT, cron, **policy)
    cannot, over = "clothes: a run cannot start", "clothes recovered from: a run cannot start"
    assert titles(world) == [cannot, over] * 2
    assert world.metrics.alarms == ["input"] * 2
    assert len(world.commands.begun) == 1


def test_what_cannot_be_started_is_an_alarm(world, lines):
    world.commands.runs = [OSError(11, "Resource temporarily unavailable")]
    world.serve("04:30")
    assert "the run of 03:00 could not be started" in world.notifier.messages[0][1]
    assert world.commands.times[-1] == "04:00:01"


def test_where_no_log_can_be_written_an_alarm_is_raised_and_the_schedule_goes_on(
    world, lines, monkeypatch
):
    real, refused = Path.mkdir, []

    def mkdir(path, *arguments, **options):
        if path == world.file.parent and not refused:
            refused.append(path)
            raise OSError(28, "No space left on device", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    world.serve("04:30")
    assert world.commands.times == ["04:00:01"]
    assert any("could not be started: [Errno 28]" in line for line in lines())
    assert world.metrics.alarms == [AlarmKind.INPUT]


def test_a_run_that_takes_too_long_is_asked_to_end(world, lines):
    world.commands.runs = [world.commands.leaving(CUT_OFF, seconds=math.inf, stubborn=5)]
    world.serve("04:30", time_limit_seconds=600, stop_seconds=30)
    told = "\n".join(lines())
    assert "03:10:06 UTC  run 20261123-030001 took longer than its limit of 10 min" in told
    assert world.metrics.alarms == ["run"]
    assert world.metrics.ended[0] == ("20261123-030001", 1)
    assert world.commands.times[-1] == "04:00:01"


def test_a_look_that_takes_too_long_is_an_alarm_until_one_ends(world, lines):
    world.commands.look_seconds = math.inf
    world.serve("03:30", look_seconds=600)
    assert world.commands.begun == []
    told = "\n".join(lines())
    assert "03:10:00 UTC  the input could not be read within 10 min; expected data" in told
    assert world.metrics.alarms == ["input"]
    world.commands.look_seconds = 599
    world.serve("04:30", look_seconds=600)
    assert len(world.commands.begun) == 1
    assert any("recovered from: a run cannot start" in line for line in lines())


def test_a_look_that_takes_too_long_is_retried(world):
    looks = iter([math.inf, 30])
    look = world.commands.look

    def next_look(answer, log):
        world.commands.look_seconds = next(looks)
        return look(answer, log)

    world.commands.look = next_look
    world.serve("03:30", look_seconds=600, retries=1, backoff_seconds=60)
    assert world.commands.times == ["03:11:30"]
    assert world.notifier.messages == []


def test_a_run_that_does_not_end_when_asked_is_killed(world, lines):
    world.commands.runs = [
        world.commands.leaving(CUT_OFF, seconds=math.inf, stubborn=math.inf) for _ in range(2)
    ]
    world.serve("03:50", time_limit_seconds=600, stop_seconds=30, retries=1)
    told = "\n".join(lines())
    assert "03:10:31 UTC  run 20261123-030001 took longer than its limit of 10 min" in told
    # It is retried: the second attempt began a look and a minute later.
    assert world.commands.times == ["03:00:01", "03:11:32"]
    assert len(world.notifier.messages) == 1


def test_a_run_that_is_complete_when_it_is_asked_to_end_is_complete(world):
    plan = world.commands.pushing(seconds=math.inf, stubborn=5, code_when_asked=0)
    world.commands.runs = [plan]
    world.serve("03:30", time_limit_seconds=600)
    assert world.state.last_run.exit_code == 0
    assert world.notifier.messages == []


def test_the_end_of_the_scheduler_ends_the_run(world, lines):
    world.commands.runs = [world.commands.leaving(CUT_OFF, seconds=math.inf, stubborn=5)]
    world.serve("03:20", retries=3)
    assert len(world.commands.begun) == 1
    *_, interrupted, stopped = lines()
    assert "03:20:05 UTC  run 20261123-030001 was interrupted; what is complete" in interrupted
    assert stopped.endswith("03:20:05 UTC  stopped")
    assert world.notifier.messages == []


def test_the_end_of_the_scheduler_kills_a_run_that_does_not_end(world, lines):
    world.commands.runs = [world.commands.leaving(CUT_OFF, seconds=math.inf, stubborn=math.inf)]
    world.serve("03:20", stop_seconds=45)
    assert lines()[-1].endswith("03:20:45 UTC  stopped")


def test_nothing_is_begun_once_the_end_is_asked_for(world):
    world.commands.runs = [world.commands.leaving(CUT_OFF, seconds=math.inf, stubborn=30)]
    world.serve(DAY.replace(hour=3, minute=59, second=50), stop_seconds=60)
    assert world.clock.time.minute == 0
    assert world.metrics.skips == []
    world.serve("04:30")
    # Both were due; one makes up for them.
    assert world.commands.times == ["03:00:01", "04:00:21"]
    assert world.state.last_run.scheduled.hour == 4


def test_the_end_of_the_scheduler_ends_a_pause(world, lines):
    world.commands.runs = [world.commands.leaving(FAILED, code=1)]
    world.serve("03:20", retries=1, backoff_seconds=7200)
    assert lines()[-1].endswith("03:20:00 UTC  stopped")


def test_a_run_that_was_cut_off_is_made_up_for_after_a_restart(world, lines):
    world.commands.runs = [world.commands.leaving(CUT_OFF, seconds=math.inf)]
    world.serve("03:20")
    assert world.state.at_work.hour == 3
    world.sleep_until("03:40")
    world.serve("03:50")
    assert world.commands.times == ["03:00:01", "03:40:01"]
    assert "the run of 03:00 was missed, 40 min ago, and is made up for" in "\n".join(lines())
    assert world.state.at_work is None


def test_a_run_that_waited_is_made_up_for_after_a_restart(world):
    world.commands.runs = [world.commands.leaving(CUT_OFF, seconds=math.inf)]
    world.serve("04:20", queue=True)
    world.sleep_until("04:40")
    world.serve("04:50", queue=True)
    # One makes up for both.
    assert world.commands.times == ["03:00:01", "04:40:01"]
    assert world.state.last_run.scheduled.hour == 4


MISSED = {
    "one makes up for all": (
        {},
        ["05:20:01", "06:00:01"],
        [],
        "the run of 05:00 was missed, 20 min ago, and is made up for",
    ),
    "skipped where that is asked for": (
        {"run_missed": False},
        ["06:00:01"],
        ["missed"],
        "skipped: the run of 05:00 was missed, 20 min ago",
    ),
    "too long ago": (
        {"cron": "0 3 * * *", "grace_seconds": 3600},
        [],
        ["missed"],
        "the run of 03:00 was missed, 2 h 20 min ago; 1 h is the most",
    ),
}


@pytest.mark.parametrize("case", MISSED)
def test_what_was_missed_is_made_up_for_once_or_skipped(world, lines, case):
    asked, times, skips, told = MISSED[case]
    world.serve("02:40", **asked)
    world.sleep_until("05:20")
    world.serve("06:30", **asked)
    assert world.commands.times == times
    assert world.metrics.skips == skips
    assert told in "\n".join(lines())


def test_a_short_grace_does_not_skip_what_is_on_time(world):
    world.serve("02:40")
    world.sleep_until("03:00")
    world.serve("03:30", grace_seconds=1)
    assert world.commands.times == ["03:00:01"]


def test_a_machine_that_slept_misses_runs(world, lines):
    world.commands.runs = [world.commands.silent(at_end=lambda code: world.sleep_until("06:20"))]
    world.serve("06:50")
    assert world.commands.times == ["03:00:01", "06:20:01"]
    assert "the run of 06:00 was missed, 20 min ago" in "\n".join(lines())


def test_nothing_was_missed_before_the_first_start(world):
    world.serve("02:50", "0 2 * * *")
    assert world.commands.times == []


def test_nothing_was_missed_of_another_schedule(world):
    world.serve("02:40", "0 4 * * *")
    world.sleep_until("03:20")
    world.serve("03:30", "0 3 * * *")
    assert world.commands.times == []


def test_a_state_that_cannot_be_read_is_begun_anew(world):
    world.file.write_text("{")
    world.serve("03:30")
    assert world.commands.times == ["03:00:01"]
    assert json.loads(world.file.read_text())["last_run"]["exit_code"] == 0


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda file: file.symlink_to("/dev/zero")])
def test_a_state_that_is_no_file_is_begun_anew(world, make):
    make(world.file)
    world.serve("03:30")
    assert world.commands.times == ["03:00:01"]


def test_a_state_that_cannot_be_written_stops_nothing(world, lines, monkeypatch):
    # In the place of the file that is to become the state.
    monkeypatch.setattr(secrets, "token_hex", lambda size: "taken")
    (world.file.parent / ".state.json.taken").mkdir()
    world.serve("03:30")
    assert world.commands.times == ["03:00:01"]
    assert "the state cannot be written: " in "\n".join(lines())


def test_nothing_is_run_where_nothing_changed(world, lines):
    world.serve("03:30", on_change=True)
    assert world.commands.begun[0][2] is False
    stand(world, "20261123-030001", ExitCode.REFUSED)
    world.serve("04:30", on_change=True)
    assert world.commands.times == ["03:00:01"]
    assert world.metrics.skips == ["unchanged"]
    assert world.metrics.ended[-1] == (None, 3)
    assert "04:00:01 UTC  skipped: nothing changed since run 20261123-030001" in "\n".join(lines())
    # An empty log tells nobody anything.
    assert [path.name for path in world.file.parent.glob("*.log")] == ["20261123-030000.log"]


def test_a_run_that_finds_nothing_changed_was_skipped(world):
    world.commands.runs = [world.commands.pushing(), world.commands.silent()]
    world.serve("04:30", on_change=True)
    assert len(world.commands.begun) == 2
    assert world.metrics.skips == ["unchanged"]
    assert [run for run, _ in world.metrics.ended] == ["20261123-030001", None]


def test_a_run_that_names_an_earlier_version_pushed_nothing(world, lines):
    earlier = {"status": "completed", "verdict": "pushed", "pushed_version": 17}
    world.commands.runs = [world.commands.leaving(earlier)]
    world.serve("03:30")
    assert "run 20261123-030001: version 17 stands, accuracy 0.945" in lines()[1]


@pytest.mark.parametrize(
    ("on_change", "code", "left"),
    [
        (False, 0, '{"run_id": "2026'),
        (False, 3, '{"schema_version": 99}'),
        (True, 3, '{"schema_version": 99, "attempt": "ATTEMPT"}'),
    ],
)
def test_a_receipt_that_cannot_be_read_is_an_alarm_and_does_not_stop_the_scheduler(
    world, lines, on_change, code, left
):
    """As where the project was updated under a scheduler that runs for weeks."""

    def leave(code):
        folder = world.locations.runs / "20261123-030001"
        folder.mkdir(parents=True)
        text = left.replace("ATTEMPT", world.commands.attempt)
        (folder / "receipt.json").write_text(text)

    world.commands.runs = [world.commands.silent(code=code, at_end=leave)]
    world.serve("04:30", on_change=on_change, retries=1)
    assert world.metrics.ended == [(None, code), ("20261123-040001", 0)]
    assert world.metrics.unread == 1
    assert world.metrics.skips == []
    told = f"the run of 03:00 ended with exit code {code}, but its receipt cannot be read"
    assert told in "\n".join(lines())
    assert titles(world) == ["clothes: a run broke off", "clothes recovered from: a run broke off"]
    assert told in world.notifier.messages[0][1]


def test_bad_input_is_an_alarm_until_it_is_sound(world, lines):
    world.commands.bad_input = "span-2 is half copied."
    world.serve("05:30")
    assert world.commands.begun == []
    # Once: it has not become another fault in the meantime.
    assert world.notifier.messages == [("clothes: a run cannot start", "span-2 is half copied.")]
    assert world.state.last_run.exit_code == 2
    world.commands.bad_input = "span-2 has no labels."
    world.serve("06:30")
    assert world.notifier.messages[1:] == [("clothes: a run cannot start", "span-2 has no labels.")]
    world.commands.bad_input = None
    world.serve("07:30")
    title, text = world.notifier.messages[2]
    assert title == "clothes recovered from: a run cannot start"
    assert text == "It was told before: span-2 has no labels."
    assert len(world.notifier.messages) == 3
    assert world.metrics.alarms == ["input", "input"]


def test_an_alarm_that_reached_nobody_is_sent_until_it_does(world, lines):
    """The network that took the drive takes the mail server, too."""
    world.commands.bad_input = "a drive is gone."
    world.notifier.lost = 3
    world.serve("03:15")
    assert world.notifier.messages == []
    # Tried again by a scheduler that begins anew, then every ten minutes.
    world.serve("05:30")
    assert world.notifier.messages == [("clothes: a run cannot start", "a drive is gone.")]
    assert world.metrics.alarms == ["input"]
    assert "\n".join(lines()).count("alarm: a run cannot start") == 1


def test_an_alarm_of_a_single_run_that_reached_nobody_is_sent_by_the_next_one(world):
    world.commands.bad_input = "a drive is gone."
    world.notifier.lost = 1
    world.once()
    assert world.notifier.messages == []
    world.once()
    world.once()
    assert world.notifier.messages == [("clothes: a run cannot start", "a drive is gone.")]


def test_an_alarm_that_is_over_before_it_reached_anybody_is_told_so(world):
    world.commands.bad_input = "a drive is gone."
    world.notifier.lost = 99
    world.serve("03:30")
    world.commands.bad_input = None
    world.serve("04:30")
    title, text = world.notifier.messages[0]
    assert title == "clothes recovered from: a run cannot start"
    assert text == "It reached nobody before: a drive is gone."
    assert world.state.untold == set()


def test_an_alarm_in_a_state_of_an_earlier_project_is_not_told_again(world):
    world.file.write_text(json.dumps({"alarms": {"input": "a drive is gone."}}))
    world.commands.bad_input = "a drive is gone."
    world.serve("04:30")
    assert world.notifier.messages == []


def test_bad_input_is_over_where_it_is_as_it_was(world):
    world.commands.bad_input = "a file is missing."
    world.serve("03:30", on_change=True)
    world.commands.bad_input = None
    stand(world, "20261122-030001", ExitCode.PUSHED)
    world.serve("04:30", on_change=True)
    assert world.commands.begun == []
    assert titles(world)[1:] == ["clothes recovered from: a run cannot start"]


def test_ends_that_leave_no_receipt_are_kept_for_the_metrics_of_a_restart(world):
    stand(world, "20261122-030001", ExitCode.PUSHED)
    world.serve("04:30", on_change=True)
    world.commands.bad_input = "a file is missing."
    world.serve("05:30", on_change=True)
    world.commands.bad_input = None
    world.commands.seen = Seen(data="/data", arrivals=1)
    world.serve("06:30", on_change=True)
    ends = {code: f"{ended:%H:%M:%S}" for code, ended in world.state.unrecorded.items()}
    assert ends == {ExitCode.PUSHED: "04:00:01", ExitCode.BAD_INPUT: "05:00:01"}


def test_a_pipeline_that_somebody_else_holds_is_skipped(world, lines):
    world.commands.held = "clothes is in use by run (process 7 of ann on host)."
    world.serve("03:30", retries=3)
    assert world.commands.begun == []
    assert world.metrics.skips == ["held"]
    assert world.state.last_run.exit_code == 4
    assert world.notifier.messages == []
    assert "skipped: clothes is in use by run (process 7 of ann" in "\n".join(lines())


def test_a_held_pipeline_is_tried_again_and_skipped_once_at_most(world):
    world.commands.runs = [world.commands.silent(code=4) for _ in range(4)]
    world.serve("03:30", retries=1, backoff_seconds=60)
    assert world.metrics.skips == ["held"]
    world.commands.runs.pop()
    world.serve("04:30", retries=1, backoff_seconds=60)
    assert len(world.commands.begun) == 4
    assert world.metrics.skips == ["held"]
    assert world.state.last_run.exit_code == 0


NIGHT = datetime.timedelta(days=1)


def test_a_pipeline_that_is_held_for_a_day_is_an_alarm_until_a_run_begins(world, lines):
    world.commands.held = "clothes is in use by run (process 7 of ann on host)."
    world.serve(DAY + NIGHT / 4, "0 3 * * *")
    assert world.notifier.messages == []
    world.serve(DAY + 3 * NIGHT, "0 3 * * *")
    told = (
        "no run could begin since 2026-11-23 03:00; the last: skipped: clothes is in use by run "
        "(process 7 of ann on host)."
    )
    assert world.notifier.messages == [("clothes: runs are held up", told)]
    assert "\n".join(lines()).count(told) == 1
    assert world.metrics.alarms == ["blocked"]
    world.commands.held = None
    world.serve(DAY + 4 * NIGHT, "0 3 * * *")
    assert titles(world)[1:] == ["clothes recovered from: runs are held up"]
    # A pipeline that is held now and then is none of that.
    world.commands.held = "clothes is in use by run (process 8 of ann on host)."
    world.serve(DAY + 4.5 * NIGHT, "0 3 * * *")
    assert len(world.notifier.messages) == 2


@pytest.mark.parametrize("queue", [False, True])
def test_a_run_that_hangs_for_a_day_is_an_alarm_until_it_ends(world, lines, queue):
    hanging = world.commands.leaving(CUT_OFF, code=130, seconds=2.2 * 86_400)
    world.commands.runs = [hanging]
    world.serve(DAY + 3 * NIGHT, "0 3 * * *", queue=queue)
    (title, text), over = world.notifier.messages
    assert title == "clothes: runs are held up"
    assert text.startswith("the run of 2026-11-23 03:00 is still at work, and no other could begin")
    assert over[0] == "clothes recovered from: runs are held up"
    assert "2026-11-24 03:00:00 UTC  alarm: runs are held up" in lines()


@pytest.mark.parametrize("days", [2, 7])
def test_a_look_for_overdue_data_that_hangs_for_a_day_is_an_alarm_until_it_ends(world, lines, days):
    """Its drive does not answer, so that not even SIGKILL ends it."""
    cron = "0 3 * * *" if days == 2 else "0 3 * * mon"
    world.serve("03:30", cron, data_due_seconds=12 * 3600)
    world.commands.look_seconds, world.commands.looks_are_killable = days * 86_400, False
    world.serve(DAY + (days + 0.4) * NIGHT, cron, data_due_seconds=12 * 3600)
    (title, text), *others = world.notifier.messages
    assert title == "clothes: runs are held up"
    assert text.startswith("a look at the data is still at work since 2026-11-23 15:00, and no run")
    assert [title for title, _ in others] == [
        "clothes recovered from: runs are held up",
        "clothes: a run cannot start",
    ]
    assert len(world.commands.begun) == 1


def test_a_look_at_data_ends_no_alarm_that_somebody_else_holds_the_pipeline(world):
    world.serve("03:30", "0 3 * * *", data_due_seconds=190_000)
    world.commands.runs = [world.commands.silent(code=4) for _ in range(9)]
    world.serve(DAY + 3 * NIGHT, "0 3 * * *", data_due_seconds=190_000)
    assert titles(world) == ["clothes: runs are held up", "clothes: data is overdue"]


def test_nights_of_23_hours_count_as_a_day_for_what_hangs(world):
    world.clock.time = datetime.datetime(2027, 3, 27, 1, tzinfo=datetime.UTC)
    world.commands.runs = [world.commands.pushing(seconds=math.inf)]
    world.serve(world.clock.time + 1.5 * NIGHT, "0 3 * * *", "Europe/Berlin")
    assert titles(world) == ["clothes: runs are held up"]


def test_runs_that_usually_overlap_are_no_alarm(world):
    world.commands.runs = [world.commands.pushing(seconds=2700) for _ in range(60)]
    world.serve(DAY + 2 * NIGHT, "*/30 * * * *")
    assert world.metrics.skips.count("overlap") > 40
    assert world.notifier.messages == []


def test_data_that_does_not_come_is_an_alarm_once(world, lines):
    world.serve("06:50", "0 3,6 * * *", data_due_seconds=2 * 3600)
    # Seen at 3:00, it is looked for when it is due, although no run is.
    assert [f"{time:%H:%M}" for time in world.commands.looks] == ["03:00", "05:00", "06:00"]
    ((title, text),) = world.notifier.messages
    assert "\n".join(lines()).count(text) == 1
    assert title == "clothes: data is overdue"
    assert text == "no new data came to /data since 03:00; it is due every 2 h"
    assert world.metrics.alarms == ["late_data"]
    assert world.commands.times == ["03:00:01", "06:00:01"]


def test_data_that_comes_late_ends_the_alarm_and_may_be_late_again(world):
    day = datetime.timedelta(days=1)
    world.serve("06:50", "0 3,7 * * *", data_due_seconds=2 * 3600)
    world.commands.seen = Seen(data="/data", arrivals=1)
    world.serve(world.clock.time + day / 4, "0 3,7 * * *", data_due_seconds=2 * 3600)
    assert titles(world) == [
        "clothes: data is overdue",
        "clothes recovered from: data is overdue",
        "clothes: data is overdue",
    ]


def test_data_is_still_overdue_where_what_looks_had_kept_is_lost(world):
    """They count anew then."""
    for until, arrivals in (("06:50", 5), ("08:50", 0)):
        world.commands.seen = Seen(data="/data", arrivals=arrivals)
        world.serve(until, data_due_seconds=2 * 3600)
        assert titles(world) == ["clothes: data is overdue"]
    world.commands.seen = Seen(data="/data", arrivals=1)
    world.serve("09:50", data_due_seconds=2 * 3600)
    assert titles(world)[1:] == ["clothes recovered from: data is overdue"]


def test_data_that_comes_in_time_is_no_alarm(world):
    for arrivals in range(3):
        world.commands.seen = Seen(data="/data", arrivals=arrivals)
        time = world.clock.time + datetime.timedelta(hours=1)
        world.serve(time, data_due_seconds=1.5 * 3600)
    assert world.notifier.messages == []


def test_data_seen_under_a_clock_set_to_the_future_falls_due_all_the_same(world):
    begin, ahead = world.clock.time, world.clock.time + datetime.timedelta(days=400)
    world.clock.time = ahead
    world.serve(ahead + datetime.timedelta(hours=1), "0 3 * * *", data_due_seconds=2 * 3600)
    world.clock.time = begin
    world.serve("06:00", "0 3 * * *", data_due_seconds=2 * 3600)
    assert titles(world) == ["clothes: data is overdue"]


def test_overdue_data_that_cannot_be_read_is_looked_for_again(world):
    world.serve("03:30", "0 3 * * *", data_due_seconds=3600)
    world.commands.bad_input = "a drive is gone."
    world.serve("04:05", "0 3 * * *", data_due_seconds=3600)
    assert world.notifier.messages == [("clothes: a run cannot start", "a drive is gone.")]
    world.commands.bad_input = None
    world.serve("04:30", "0 3 * * *", data_due_seconds=3600)
    assert world.notifier.messages[-1][0] == "clothes: data is overdue"


@pytest.mark.parametrize("queue", [False, True])
def test_a_run_that_is_due_during_a_look_for_data_begins_after_it(world, lines, queue):
    world.commands.look_seconds = 2 * 3600
    policy = {"data_due_seconds": 21 * 3600, "look_seconds": 4 * 3600, "queue": queue}
    world.serve(DAY + 1.5 * NIGHT, "0 3 * * *", **policy)
    # Data was seen at 5:00, and is looked for at 2:00 in the next night.
    looks = [f"{time:%d %H:%M}" for time in world.commands.looks]
    assert looks == ["23 03:00", "24 02:00", "24 04:00"]
    assert [f"{time:%d %H:%M}" for time, _, _ in world.commands.begun] == ["23 05:00", "24 06:00"]
    assert world.metrics.skips == []
    assert any("the run of 03:00 waits for a look at the data" in line for line in lines())


def test_a_run_that_waits_for_a_look_is_made_up_for_after_a_restart(world):
    world.commands.look_seconds = 2 * 3600
    policy = {"data_due_seconds": 21 * 3600, "look_seconds": 4 * 3600}
    world.serve(DAY + NIGHT + datetime.timedelta(hours=3.5), "0 3 * * *", **policy)
    assert len(world.commands.begun) == 1
    world.commands.look_seconds = 60
    world.serve(DAY + NIGHT + datetime.timedelta(hours=4), "0 3 * * *", **policy)
    assert len(world.commands.begun) == 2


def test_jitter_puts_runs_off(world, lines):
    day = datetime.timedelta(days=1)
    world.serve(world.clock.time + 8 * day, "0 3 * * *", jitter_seconds=1800)
    minutes = [time.minute for time, _, _ in world.commands.begun]
    assert len(minutes) == 8
    assert all(time.hour == 3 for time, _, _ in world.commands.begun)
    assert all(0 <= minute <= 30 for minute in minutes)
    assert len(set(minutes)) > 1
    assert world.metrics.skips == []
    assert "the run of 03:00 began" in lines()[0]


def test_a_schedule_that_ends_ends_the_scheduler(world, lines):
    world.serve("23:00", end="2026-11-23T04:30")
    assert world.commands.times == ["03:00:01", "04:00:01"]
    assert lines()[-1] == "2026-11-23 04:00:31 UTC  no further run is due"


def test_clocks_that_are_changed_run_a_night_once(world):
    world.clock.time = datetime.datetime(2026, 10, 24, 12, tzinfo=datetime.UTC)
    until = world.clock.time + datetime.timedelta(days=2)
    world.serve(until, "30 2 * * *", "Europe/Berlin")
    assert world.commands.times == ["00:30:01", "01:30:01"]


def test_old_logs_are_removed(world):
    for number in range(150):
        (world.file.parent / f"20250101-{number:06}.log").write_text("old")
    world.serve("03:30")
    logs = sorted(path.name for path in world.file.parent.glob("*.log"))
    assert len(logs) == 100
    assert logs[-1] == "20261123-030000.log"
    assert logs[0] == "20250101-000051.log"


@pytest.mark.parametrize("code", [0, 1, 2, 3, 4])
def test_once_exits_as_the_run_does(world, lines, code):
    receipts = {0: {"status": "completed", "verdict": "pushed"}, 1: STOPPED, 3: REFUSED}
    world.commands.runs = [ending(world, receipts.get(code), code)]
    assert world.once(retries=0 if code == 4 else 2) == code
    assert len(world.commands.begun) == 1
    assert re.match(r"2026-11-23 02:30:01 UTC  the run of 02:30 began", lines()[0])


def test_once_retries_as_the_schedule_would(world):
    world.commands.runs = [world.commands.silent(code=-9) for _ in range(2)]
    assert world.once(retries=1) == 1
    assert len(world.commands.begun) == 2
    assert world.once() == 0


def test_once_exits_as_the_run_since_which_nothing_changed(world):
    stand(world, "20261122-030001", ExitCode.REFUSED)
    assert world.once(on_change=True) == 3
    assert world.commands.begun == []


def test_once_changes_nothing_of_the_schedule(world):
    world.serve("02:40")
    handled = world.state.handled
    world.sleep_until("02:50")
    assert world.once() == 0
    assert world.state.handled == handled
    assert world.state.last_run.scheduled.minute == 50

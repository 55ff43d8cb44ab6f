"""A world for the scheduler in which days go by at once: a clock, processes, and who is told."""

import dataclasses
import datetime
import math
import zoneinfo
from collections.abc import Callable

import pytest

from operations.scheduling.look import Seen
from operations.scheduling.plan import Policy
from operations.scheduling.report import Report
from operations.scheduling.runs import Runs
from operations.scheduling.service import Service
from operations.scheduling.state import read_state
from operations.scheduling.timetable import Timetable
from operations.scheduling.work import Work
from pipeline.locations import Locations

BEGIN = datetime.datetime(2026, 11, 23, 2, 30, tzinfo=datetime.UTC)
# Later than any run here begins, as the version of one that pushed is.
VERSION = 2_000_000_000
# As the waits of a real clock, which notices soon when a machine has slept.
LONGEST_WAIT_SECONDS = 60


class Clock:
    """A clock that goes on only where somebody waits.

    Attributes:
      time: what it shows; whoever sets it changes none of the seconds that pass.
      until: when somebody asks the scheduler to stop; None for never.
      lasts: seconds after which somebody asks for that, whatever the clock shows.
      jumps: by how much it is set forward or back, by the second in which that happens.
      wakes: when a process ends, or something else happens that ends a wait.
      longest_wait: seconds after which a wait ends in any case.
    """

    def __init__(self, now):
        self.time = now
        self.until = now
        self.lasts = math.inf
        self.jumps = {}
        self.wakes = []
        self.longest_wait = LONGEST_WAIT_SECONDS
        self.stop_requested = False
        self._seconds = 0.0

    def now(self):
        return self.time

    def seconds(self):
        return self._seconds

    def wait(self, seconds):
        self.wakes = [wake for wake in self.wakes if wake > self._seconds]
        left = [wake - self._seconds for wake in self.wakes]
        left += [seconds, self.longest_wait]
        if not self.stop_requested:
            left += [self.lasts - self._seconds]
            left += [(self.until - self.time).total_seconds()] if self.until else []
        self._go_on(max(0, min(left)))
        over = self.until is not None and self.time >= self.until
        self.stop_requested = self.stop_requested or over or self._seconds >= self.lasts

    def _go_on(self, seconds):
        self._seconds += seconds
        self.time += datetime.timedelta(seconds=seconds)
        # Nobody is woken by that.
        for second in [second for second in self.jumps if second <= self._seconds]:
            self.time += self.jumps.pop(second)


@dataclasses.dataclass
class Process:
    """How a process will go.

    Attributes:
      code: with which it ends.
      seconds: after which it ends.
      stubborn: seconds for which it goes on after it is asked to end; for ever, if infinite.
      code_when_asked: with which it ends then.
      killable: whether a signal ends it at all; not while a drive does not answer.
      at_end: what it does last, given its code.
    """

    code: int = 0
    seconds: float = 30
    stubborn: float = 0
    code_when_asked: int = 130
    killable: bool = True
    at_end: Callable[[int], None] = lambda code: None


class Child:
    """A process at work."""

    def __init__(self, process, clock, asked):
        self._process = process
        self._clock = clock
        self._asked = asked
        self._ends(process.seconds, process.code)
        self._ended = False

    def poll(self):
        if self._clock.seconds() < self._end:
            return None
        if not self._ended:
            self._ended = True
            self._process.at_end(self._code)
        return self._code

    def terminate(self):
        self._asked.append(self._clock.seconds())
        if self._process.killable:
            self._ends(self._process.stubborn, self._process.code_when_asked)

    def kill(self):
        if self._process.killable:
            self._ends(0, -9)

    def _ends(self, seconds, code):
        self._end, self._code = self._clock.seconds() + seconds, code
        if seconds < math.inf:
            self._clock.wakes.append(self._end)


class Commands:
    """Starts processes as they were planned; when there is no plan left, runs that push.

    Attributes:
      seen: what looks see.
      bad_input: what they find fault with; None where the input is sound.
      held: who they find at work; None where nobody is.
      locked: how many of the next looks find the metadata store locked.
      runs: plans of the next runs.
      begun: time, data and force of each run.
      seconds: seconds that had passed when each run began.
      asked: seconds that had passed when a process was asked to end.
      looks: time of each look.
      look_seconds: how long a look at sound input takes.
      looks_are_killable: whether a signal ends it before.
    """

    def __init__(self, clock, locations, template):
        self._clock = clock
        self._locations = locations
        self._template = template
        self.seen = Seen(data="/data", arrivals=0)
        self.bad_input = None
        self.held = None
        self.locked = 0
        self.runs = []
        self.begun = []
        self.seconds = []
        self.asked = []
        self.looks = []
        self.look_seconds = 1
        self.looks_are_killable = True

    def look(self, answer, log):
        self.looks.append(self._clock.now())
        log.touch()
        if self.locked:
            self.locked -= 1
            log.write_text("error: metadata.db is locked by another process\n")
            return self._child(Process(code=1, seconds=1))
        refusal = self.bad_input or self.held
        if refusal:
            log.write_text(f"reading\nerror: {refusal}\n")
            return self._child(Process(code=2 if self.bad_input else 4, seconds=1))
        answer.write_text(self.seen.model_dump_json())
        process = Process(seconds=self.look_seconds, killable=self.looks_are_killable)
        return self._child(process)

    def run(self, data, force, log, attempt):
        self.attempt = attempt
        self.begun.append((self._clock.now(), data, force))
        self.seconds.append(self._clock.seconds())
        plan = self.runs.pop(0) if self.runs else self.pushing()
        if isinstance(plan, OSError):
            raise plan
        log.write_text("a run\nerror: the run says why\n")
        return self._child(plan)

    def _child(self, process):
        return Child(process, self._clock, self.asked)

    def pushing(self, **values):
        """A run that pushes a model."""
        receipt = {"status": "completed", "verdict": "pushed", "pushed_version": VERSION}
        return self.leaving(receipt, **values)

    def silent(self, **values):
        """A run that leaves no receipt."""
        return Process(**values)

    def leaving(self, changes, **values):
        """A run that leaves a receipt."""

        def write(code):
            receipt = self._template.changed(
                **{
                    "sequence": len(self.begun),
                    "attempt": self.attempt,
                    "served_before": 17,
                    "run_id": f"{self.began:%Y%m%d-%H%M%S}",
                    "began": self.began,
                    "seconds": 723.0,
                    "gates": (),
                    "pushed_version": None,
                    **changes,
                }
            )
            folder = self._locations.runs / receipt.run_id
            folder.mkdir(parents=True)
            receipt.write(folder)
            (folder / "review.html").touch()

        return Process(at_end=write, **values)

    @property
    def began(self):
        return self.begun[-1][0]

    @property
    def times(self):
        """When runs began, as clocks show it."""
        return [f"{time:%H:%M:%S}" for time, _, _ in self.begun]


class Recorder:
    """Stands for the metrics, and for those who are notified."""

    def __init__(self):
        self.skips = []
        self.alarms = []
        self.ended = []
        self.unread = 0
        self.next = None
        self.messages = []

    def skipped(self, reason):
        self.skips.append(reason)

    def run_ended(self, receipt, exit_code, unread):
        self.unread += unread
        self.ended.append((receipt.run_id if receipt else None, exit_code))

    def next_run(self, when):
        self.next = when


class Metrics(Recorder):
    def alarm(self, kind):
        self.alarms.append(kind)


class Notifier(Recorder):
    """Those who are notified.

    Attributes:
      lost: how many of the next alarms reach nobody.
    """

    def __init__(self):
        super().__init__()
        self.lost = 0

    def alarm(self, title, text):
        self.lost -= 1
        if self.lost < 0:
            self.messages.append((title, text))
        return self.lost < 0

    def all_clear(self, title, text):
        self.messages.append((title, text))


class World:
    """A pipeline with a schedule.

    Attributes:
      clock: of the world.
      commands: plans and processes.
      metrics: what monitoring was told.
      notifier: what people were told.
    """

    def __init__(self, root, template, now=BEGIN):
        self.locations = Locations(root / "clothes")
        self.file = self.locations.root / "schedule" / "state.json"
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.clock = Clock(now)
        self.commands = Commands(self.clock, self.locations, template)
        self.metrics = Metrics()
        self.notifier = Notifier()

    def serve(self, until, cron="0 * * * *", timezone="UTC", **policy):
        """Runs the scheduler anew until a time, given as `HH:MM` on the first day, or a moment."""
        if isinstance(until, str):
            hour, minute = map(int, until.split(":"))
            until = BEGIN.replace(hour=hour, minute=minute)
        self.clock.until, self.clock.lasts = until, math.inf
        self._serve(cron, timezone, policy)

    def serve_for(self, seconds, cron="0 * * * *", timezone="UTC", **policy):
        """Runs the scheduler anew for so many seconds, whatever the clock shows."""
        self.clock.until, self.clock.lasts = None, self.clock.seconds() + seconds
        self._serve(cron, timezone, policy)

    def _serve(self, cron, timezone, policy):
        self.clock.stop_requested = False
        end = policy.pop("end", None)
        timetable = Timetable(cron, timezone, end=end)
        policy = Policy(**policy)
        report = self._report(timetable.zone)
        runs = self._runs(policy, report)
        Service(timetable, policy, runs, self.clock, report).serve()

    def once(self, **policy):
        """Runs once; returns the exit code."""
        self.clock.until, self.clock.lasts = BEGIN + datetime.timedelta(days=9), math.inf
        self.clock.stop_requested = False
        report = self._report(zoneinfo.ZoneInfo("UTC"))
        return self._runs(Policy(**policy), report).once()

    @property
    def state(self):
        """The state as it is kept."""
        return read_state(self.file)

    def sleep_until(self, time):
        """The machine sleeps, or the scheduler is not there."""
        self.clock.time = BEGIN.replace(hour=int(time[:2]), minute=int(time[3:]))

    def _report(self, zone):
        return Report("clothes", zone, self.clock, self.metrics, self.notifier)

    def _runs(self, policy, report):
        work = Work(self.commands, policy, self.locations, self.clock, report)
        return Runs(work, policy, self.file, self.clock, report)


@pytest.fixture
def world(tmp_path, pushed_receipt):
    """A pipeline with a schedule, at half past two in the morning."""
    measured = pushed_receipt.evaluation.model_copy(update={"accuracy": 0.9451})
    return World(tmp_path, pushed_receipt.changed(evaluation=measured))

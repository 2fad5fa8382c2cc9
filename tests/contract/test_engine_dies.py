# SPDX-License-Identifier: Apache-2.0
"""Leaders that die on a real database: what they wrote down is continued by the next one."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.unit.engine.sim import STEP, Crash, CrashingDatabase, Sim
from vmha_remediator.errors import StaleEpoch
from vmha_remediator.store import Store
from vmha_remediator.store.database import Database

#: Begins a recovery, and hangs in the middle of a transaction that has changed rows.
DIES = """
import sys, threading
import sqlalchemy as sa
from vmha_remediator.store import Store
from vmha_remediator.store.database import Database
store = Store(Database(sys.argv[1]))
epoch = store.claim_epoch("dies")
incident = store.open_incident("h1", "failure", "recover", "critical", "it is dead", epoch=epoch)
store.begin_step(incident, "evacuate", "a is asked for", epoch=epoch)

def half(session):
    session.execute(sa.text("UPDATE leader SET epoch = 99"))
    session.execute(sa.text("DELETE FROM steps"))
    print("in the middle", flush=True)
    threading.Event().wait()

store.database.write(half)
"""
#: Makes the tables as an engine does when it starts, at the moment at which it is told.
STARTS = """
import sys
from vmha_remediator.store.database import Database
database = Database(sys.argv[1])
sys.stdin.readline()
print(database.upgrade())
"""


def _url(database: Database) -> str:
    return database.engine().url.render_as_string(hide_password=False)


def _process(script: str, database: Database) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    words = [sys.executable, "-c", script, _url(database)]
    return subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def test_processes_that_start_at_once_on_an_empty_database_make_the_tables_once(
    database: Database,
) -> None:
    processes = [_process(STARTS, database) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(lambda process: process.communicate("now\n", 60), processes))
    assert [out.strip() for out, _ in told] == [database.head()] * 2, told
    store = Store(database)
    store.check()
    assert (store.claim_epoch("one"), store.claim_epoch("two")) == (1, 2)


def test_a_leader_killed_in_the_middle_of_a_write_leaves_no_half_of_it(
    database: Database,
) -> None:
    database.upgrade()
    with _process(DIES, database) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in the middle\n"
        process.kill()
    store = Store(database)
    epoch = store.claim_epoch("next")  # the rows that the dead one had locked are free
    assert epoch == 2
    (incident,) = store.incidents(active_only=True)
    (step,) = incident.steps
    assert (step.sentence, step.ok) == ("a is asked for", None)
    with pytest.raises(StaleEpoch, match="next leads with epoch 2"):
        store.begin_step(incident, "evacuate", "late", epoch=1)


def test_engines_that_die_one_after_another_continue_each_others_journal(
    database: Database,
) -> None:
    """Each dies at its eighth deed, until the host's VMs all run elsewhere."""
    database.upgrade()
    sim = Sim(database=CrashingDatabase(_url(database)))
    for name in "abc":
        sim.world.nova.boot(name, "h1")
    sim.run(1)
    sim.world.power_off("h1")
    left = deaths = 0

    def count(place: str) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise Crash(place)

    while sim.state("h1") != "recovered":
        assert deaths < 40, sim.story()
        sim.world.point, left = count, 8
        try:
            sim.run_until(lambda: sim.state("h1") == "recovered")
        except Crash:
            deaths += 1
            sim.world.point = lambda place: None
            sim.world.pass_time(STEP)
            sim.engine = sim.new_engine()
    assert deaths > 3
    assert sorted(sim.world.noted("evacuate")) == ["a", "b", "c"], sim.story()

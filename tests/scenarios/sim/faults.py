# SPDX-License-Identifier: Apache-2.0
"""What can be done to the simulated cloud: one verb a line of a script."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from tests.scenarios.sim import webhook
from tests.scenarios.sim.hosts import Host
from vmha_remediator.remedy.states import IncidentState as S

if TYPE_CHECKING:
    from tests.scenarios.sim.world import World

Verb = Callable[..., None]
VERBS: dict[str, Verb] = {}
EVERYBODY = "all"
DESTINATION = "DESTINATION"
LOOK = 0.05  # s between two looks of those who wait for something


def verb(name: str) -> Callable[[Verb], Verb]:
    def register(function: Verb) -> Verb:
        VERBS[name] = function
        return function

    return register


def act(world: World, line: str) -> None:
    """Do one line: a verb and its arguments."""
    name, *args = line.split()
    if name not in VERBS:
        raise ValueError(f"unknown verb {name}; known: {', '.join(sorted(VERBS))}")
    world.log("FAULT", line)
    VERBS[name](world, *args)


def _hosts(world: World, names: Iterable[str]) -> list[Host]:
    names = list(names)
    if names == [EVERYBODY]:
        return list(world.hosts.values())
    return [world.hosts[name] for name in names]


# -- hosts and their processes ------------------------------------------------------------


@verb("power-off")
def power_off(world: World, *names: str) -> None:
    for host in _hosts(world, names):
        host.power_off()


@verb("power-on")
def power_on(world: World, name: str, seconds: str = "20") -> None:
    """Switch a host on; its services are up after so many seconds."""
    for host in _hosts(world, [name]):
        host.power_on(float(seconds))


@verb("reboot")
def reboot(world: World, name: str, seconds: str) -> None:
    """Let a host restart by itself, at once: what a kernel panic does."""
    for host in _hosts(world, [name]):
        host.power_off()
        host.power_on(float(seconds))


@verb("lose-power")
def lose_power(world: World, *names: str) -> None:
    """Take the power of a host and of its BMC."""
    for host in _hosts(world, names):
        host.power_off()
        world.bmcs.mode[host.name] = "dead"


@verb("hang")
def hang(world: World, *names: str) -> None:
    for host in _hosts(world, names):
        host.hang()


@verb("unhang")
def unhang(world: World, *names: str) -> None:
    for host in _hosts(world, names):
        host.unhang()


@verb("starve")
def starve(world: World, name: str, seconds: str) -> None:
    """Give every process of a host the CPU up to so many seconds late."""
    world.hosts[name].starved = float(seconds)


@verb("kill")
def kill(world: World, kind: str, *names: str) -> None:
    for host in _hosts(world, names):
        host.kill(kind)


@verb("start")
def start(world: World, kind: str, *names: str) -> None:
    for host in _hosts(world, names):
        host.start(kind)


@verb("stop")
def stop(world: World, kind: str, *names: str) -> None:
    for host in _hosts(world, names):
        host.stop(kind)


@verb("cont")
def cont(world: World, kind: str, *names: str) -> None:
    for host in _hosts(world, names):
        host.cont(kind)


@verb("leave")
def leave(world: World, *names: str) -> None:
    """Stop agents as systemd does, so that they say that they leave."""
    for host in _hosts(world, names):
        if host.agent is not None:
            host.agent.stop.set()


@verb("crash-loop")
def crash_loop(world: World, name: str, lives: str, rests: str, times: str) -> None:
    """Let an agent die and start again some times: it lives and rests so many seconds."""
    host, left = world.hosts[name], int(times)

    def die() -> None:
        nonlocal left
        left -= 1
        host.kill("agent")
        world.clockwork.after(float(rests), lambda: host.start("agent"))
        if left:
            world.clockwork.after(float(rests) + float(lives), die)

    die()


@verb("rename")
def rename(world: World, name: str, other: str) -> None:
    """Start the agent of `name` anew under the name of another host."""
    host = world.hosts[name]
    host.kill("agent")
    host.agent_name = other
    host.start("agent")


@verb("clock")
def clock(world: World, name: str, seconds: str) -> None:
    """Set a host's wall clock wrong by so much."""
    world.hosts[name].skew = float(seconds)


@verb("kill-vm")
def kill_vm(world: World, vm: str) -> None:
    for host in world.hosts.values():
        world.guest_ends(vm, host)


@verb("curse-vm")
def curse_vm(world: World, vm: str, state: str = "on") -> None:
    """Let a guest die whenever it starts (its disk is broken), or no more."""
    {"on": world.nova.cursed.add, "off": world.nova.cursed.discard}[state](vm)
    if state == "on":
        kill_vm(world, vm)


@verb("user-stops")
def user_stops(world: World, vm: str) -> None:
    world.nova.stop_by(vm, "its-owner")


@verb("user-reboots")
def user_reboots(world: World, vm: str) -> None:
    world.nova.change(vm, task_state="rebooting_hard")
    world.clockwork.after(1.0, lambda: world.nova.rebooted(vm))


@verb("nova-finds-off")
def nova_finds_off(world: World, vm: str) -> None:
    """Let Nova's power sync find that a guest is off: it stops the server by itself."""
    world.nova.stop_by(vm, None)


@verb("lock-vm")
def lock_vm(world: World, vm: str) -> None:
    world.nova.change(vm, locked=True, locked_reason="do not touch")


@verb("delete-vm")
def delete_vm(world: World, vm: str) -> None:
    kill_vm(world, vm)
    del world.nova.servers_by_id[vm]


@verb("nova-refuses")
def nova_refuses(world: World, *actions: str) -> None:
    """Let Nova refuse these actions on servers; none: it does all."""
    world.nova.refuses = set(actions)


@verb("nova-loses")
def nova_loses(world: World, *vms: str) -> None:
    """Let Nova's own message about the next evacuation of these VMs be lost on its way."""
    world.nova.loses = set(vms)


@verb("tardy")
def tardy(world: World, name: str, seconds: str) -> None:
    """Let a host's nova-compute work its queue off only so long after it has started."""
    world.nova.tardy[name] = float(seconds)


@verb("queue-lost")
def queue_lost(world: World, *names: str) -> None:
    """Let what waits in the queues of hosts be lost."""
    for host in _hosts(world, names):
        world.nova.lose_queue(host.name)


@verb("placement")
def placement(world: World, state: str) -> None:
    """Let Placement answer nobody ("lost"), or again ("work")."""
    world.nova.books_away = {"lost": True, "work": False}[state]


@verb("spoil-vm")
def spoil_vm(world: World, *vms: str) -> None:
    """Let the next evacuation of these VMs fail at its destination, which cannot start them."""
    world.nova.spoiled = set(vms)


@verb("reset-vm")
def reset_vm(world: World, vm: str, state: str) -> None:
    """Let a person reset a VM's state in Nova."""
    world.nova.change(vm, vm_state=state, status=state.upper(), task_state=None)


# -- network --------------------------------------------------------------------------------


@verb("cut")
def cut(world: World, *names: str) -> None:
    """Cut hosts off the management network, each one alone."""
    everybody = world.network.names()
    for host in _hosts(world, names):
        world.network.block([host.name], everybody)
        world.network.block(everybody, [host.name])


@verb("join")
def join(world: World, *names: str) -> None:
    """Heal the links of hosts, or of all."""
    for host in _hosts(world, names):
        world.network.heal(host.name)
    if list(names) == [EVERYBODY]:
        world.network.heal()


@verb("split")
def split(world: World, *groups: str) -> None:
    """Split the network into groups of names, comma-separated; others reach all of them."""
    parts = [group.split(",") for group in groups]
    for one in parts:
        for two in parts:
            if one is not two:
                world.network.block(one, two)


@verb("one-way")
def one_way(world: World, sender: str, target: str) -> None:
    """Lose what `sender` sends to `target`; "all" stands for everybody."""
    everybody = world.network.names()
    froms = everybody if sender == EVERYBODY else sender.split(",")
    world.network.block(froms, everybody if target == EVERYBODY else target.split(","))


@verb("loss")
def loss(world: World, share: str, *names: str) -> None:
    """Lose this share of the packets to and from hosts."""
    everybody = world.network.names()
    for host in _hosts(world, names):
        for other in everybody:
            for pair in ((host.name, other), (other, host.name)):
                world.network.loss[pair] = float(share)


@verb("flap")
def flap(world: World, name: str, down: str, up: str, times: str) -> None:
    """Cut a host and join it again, some times over."""
    period = float(down) + float(up)
    for n in range(int(times)):
        world.clockwork.after(n * period, lambda: act(world, f"cut {name}"))
        world.clockwork.after(n * period + float(down), lambda: act(world, f"join {name}"))


@verb("network-down")
def network_down(world: World) -> None:
    """Let the whole management network fail, between hosts and to the controllers."""
    everybody = world.network.names()
    world.network.block(everybody, everybody)


@verb("gateway")
def gateway(world: World, state: str) -> None:
    world.gateway.hung = {"down": True, "up": False}[state]


# -- storage ----------------------------------------------------------------------------------


@verb("storage")
def storage(world: World, state: str, *names: str) -> None:
    """Let hosts' paths to the storage be "works", "stalls" or "fails"."""
    assert state in ("works", "stalls", "fails"), state
    for host in _hosts(world, names):
        host.storage.set(state)


@verb("slow-storage")
def slow_storage(world: World, seconds: str, *names: str) -> None:
    for host in _hosts(world, names):
        host.storage.latency = float(seconds)


@verb("spoil")
def spoil(world: World, block: str) -> None:
    """Damage a block of the slots area: 0 the header, 1 the roster, 2 the first slot."""
    world.area.spoil(int(block))


@verb("format")
def format_area(world: World) -> None:
    """Initialise the slots area anew under everybody's feet."""
    world.area.format()


@verb("area")
def area(world: World, state: str) -> None:
    """Remove the slots file, or bring it back as it was."""
    world.area.missing = {"gone": True, "back": False}[state]


# -- control plane ------------------------------------------------------------------------------


@verb("service")
def service(world: World, name: str, state: str) -> None:
    """Let gnocchi, aodh, evaluator, rabbit, keystone, nova, database be "down" or "up"."""
    down = {"down": True, "up": False}[state]
    if name == "nova":
        world.nova.down = down
    elif name == "database":
        world.control.database.gone = down
    else:
        assert name in ("gnocchi", "aodh", "evaluator", "rabbit", "keystone"), name
        (world.telemetry.down.add if down else world.telemetry.down.discard)(name)


@verb("slow-gnocchi")
def slow_gnocchi(world: World, seconds: str) -> None:
    """Let Gnocchi take so long for each request."""
    world.telemetry.latency = float(seconds)


@verb("silence")
def silence(world: World, *names: str) -> None:
    """Let no sample about hosts come through any more."""
    world.telemetry.silent |= {host.name for host in _hosts(world, names)}


@verb("speak")
def speak(world: World, *names: str) -> None:
    world.telemetry.silent -= {host.name for host in _hosts(world, names)}


@verb("webhooks")
def webhooks(world: World, state: str) -> None:
    world.telemetry.lost_webhooks = {"lost": True, "work": False}[state]


@verb("ring")
def ring(world: World, rule: str, name: str) -> None:
    """Deliver a webhook that nobody sent, or one of long ago."""
    world.control.ring(rule, name, "replay")


@verb("post")
def post(world: World, rule: str, name: str, signature: str) -> None:
    """Send a webhook over the network: genuine, unsigned, made-up or of-another-host."""
    world.log("webhook", webhook.post(world, rule, name, signature))


@verb("bmc")
def bmc(world: World, mode: str, *names: str) -> None:
    """Let BMCs be "works", "dead", "lies" or "mute"."""
    for host in _hosts(world, names):
        world.bmcs.mode[host.name] = mode


@verb("silence-first")
def silence_first(world: World, *names: str) -> None:
    """Have hosts fenced by `[watchdog, redfish]`: the BMC is asked when silence proves nothing."""
    for host in _hosts(world, names):
        world.bmcs.after_silence.add(host.name)


@verb("engine")
def engine(world: World, deed: str, name: str = "engine") -> None:
    """Start, kill, stop (SIGSTOP) or continue an engine."""
    if deed == "start":
        world.control.start(name)
        return
    if deed == "kill":
        world.control.kill(name)
        return
    process = world.control.engines[name]
    process.stopped = {"stop": True, "cont": False}[deed]
    if deed == "cont":
        world.clockwork.release(process)


@verb("when")
def when(world: World, state: str, *line: str) -> None:
    """Do something as soon as an incident is in a state."""

    def look() -> None:
        with world.control.database.seen_through():
            states = {i.state for i in world.control.store.incidents(active_only=True)}
        if S(state) in states:
            act(world, " ".join(line))
        else:
            _wait(world, LOOK, look)

    look()


@verb("when-moving")
def when_moving(world: World, *line: str) -> None:
    """Do something as soon as a VM is on its way; DESTINATION in the line stands for where to."""

    def look() -> None:
        host = world.nova.heading_for()
        if host is not None:
            act(world, " ".join(line).replace(DESTINATION, host))
        else:
            _wait(world, LOOK, look)

    look()


@verb("later")
def later(world: World, seconds: str, *line: str) -> None:
    _wait(world, float(seconds), lambda: act(world, " ".join(line)))


def _wait(world: World, seconds: float, call: Callable[[], None]) -> None:
    """Call then, unless all has been repaired by then for good."""
    world.clockwork.after(seconds, lambda: None if world.repaired else call())


@verb("room")
def room(world: World, *names: str) -> None:
    """Leave capacity on these hosts only; "none": nowhere; "all": everywhere."""
    world.nova.room = {"all": None, "none": set()}.get(names[0], set(names))


@verb("disable")
def disable(world: World, *names: str) -> None:
    """Let an operator keep new VMs off hosts."""
    for name in names:
        world.nova.disabled[name] = "maintenance by an operator"


@verb("remove-service")
def remove_service(world: World, *names: str) -> None:
    """Let an operator delete hosts' compute services, as Nova allows once no VM is on them."""
    for host in names:
        assert all(s.host != host for s in world.nova.servers_by_id.values()), host
        world.nova.removed.add(host)


@verb("enable")
def enable(world: World, *names: str) -> None:
    for name in names:
        world.nova.disabled.pop(name, None)


@verb("force-down")
def force_down(world: World, name: str) -> None:
    """Let an operator force a service down."""
    world.nova.set_forced(name, True)


@verb("unforce")
def unforce(world: World, name: str) -> None:
    world.nova.set_forced(name, False)


@verb("maintenance")
def maintenance(world: World, deed: str, name: str, seconds: str = "") -> None:
    """Let an operator "set" (for so many seconds) or "unset" a host's maintenance."""
    store, now = world.control.store, world.control.clock.now()
    if deed == "set":
        store.set_maintenance(name, "new memory", "ann", now + float(seconds) if seconds else None)
        return
    assert deed == "unset", deed
    assert store.unset_maintenance(name), f"{name} is not in maintenance"


@verb("confirm")
def confirm(world: World, name: str) -> None:
    """Let a person say that a host is off."""
    world.control.store.confirm_fenced(name, "ann")


@verb("release")
def release(world: World, name: str) -> None:
    """Let a person release the host's incident."""
    incident = world.control.store.active(name)
    assert incident is not None, f"{name} has no incident"
    world.control.store.release(incident.id, "ann")

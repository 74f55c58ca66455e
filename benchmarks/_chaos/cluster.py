"""The nodes of a site and the pods on them: bound first-fit, and each ready a little later."""

from dataclasses import dataclass, field

GIB_PER_CORE = 4
_READY_SECONDS = 6.0


@dataclass(slots=True)
class Pods:
    """What runs of one order.

    Attributes:
        generation: the generation that was applied.
        epoch: the epoch of the index that asked for it.
        replicas: number of pods that are wanted.
        cores: cores of each pod.
        nodes: the node of each bound pod.
        ready_at: when each bound pod is ready.
        run_seconds: how long its pods run to their end; None: they do not end.
        ended: its pods have run to their end.
        stops_at: when the pods are gone that are withdrawn; None: they are not.
    """

    generation: int
    epoch: int
    replicas: int
    cores: int
    nodes: list[int] = field(default_factory=list)
    ready_at: list[float] = field(default_factory=list)
    run_seconds: float | None = None
    ended: bool = False
    stops_at: float | None = None

    def ready(self, now: float) -> int:
        """Number of ready pods."""
        if self.ended or self.stops_at is not None:
            return 0
        return sum(at <= now for at in self.ready_at)

    @property
    def is_short(self) -> bool:
        """Whether some of its pods are not bound to a node."""
        return len(self.nodes) < self.replicas and not self.ended

    def has_run_to_its_end(self, now: float) -> bool:
        """Whether its pods have just run to their end."""
        if self.run_seconds is None or self.ended or not self.nodes:
            return False
        return now >= max(self.ready_at) + self.run_seconds

    def becomes_ready(self, now: float) -> bool:
        """Whether a pod becomes ready about now."""
        return not self.ended and any(0 <= at - now <= 1 for at in self.ready_at)


@dataclass(slots=True)
class Cluster:
    """The nodes, and the pods on them.

    Attributes:
        node_cores: cores of each node.
        node_count: number of nodes while none is lost.
        free_cores: free cores of each node that is there.
        pods: what runs, by order id.
    """

    node_cores: int
    node_count: int
    free_cores: list[int] = field(default_factory=list)
    pods: dict[str, Pods] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.free_cores = [self.node_cores] * self.node_count

    @property
    def cores(self) -> int:
        """Cores of the nodes that are there."""
        return len(self.free_cores) * self.node_cores

    def power_off(self) -> None:
        """No pod is bound any more."""
        for pods in self.pods.values():
            self.unbind(pods)

    def clear(self) -> None:
        """All objects are gone, and all nodes are there."""
        self.pods.clear()
        self.free_cores = [self.node_cores] * self.node_count

    def lose_node(self) -> bool:
        """Loses the last node with its pods; returns whether there was more than one."""
        if len(self.free_cores) <= 1:
            return False
        gone = len(self.free_cores) - 1
        self.free_cores.pop()
        for pods in self.pods.values():
            kept = [at for at, node in enumerate(pods.nodes) if node != gone]
            pods.nodes = [pods.nodes[at] for at in kept]
            pods.ready_at = [pods.ready_at[at] for at in kept]
        return True

    def add_node(self) -> bool:
        """Gets a lost node back; returns whether one was lost."""
        if len(self.free_cores) >= self.node_count:
            return False
        self.free_cores.append(self.node_cores)
        return True

    def bind(self, now: float) -> None:
        """Binds each pod to the first node with room for it."""
        for pods in self.pods.values():
            if pods.ended or pods.stops_at is not None:
                continue
            while len(pods.nodes) < pods.replicas:
                node = next((i for i, f in enumerate(self.free_cores) if f >= pods.cores), None)
                if node is None:
                    break
                self.free_cores[node] -= pods.cores
                pods.nodes.append(node)
                pods.ready_at.append(now + _READY_SECONDS)

    def lower(self, pods: Pods, replicas: int) -> None:
        """Ends the pods above a number."""
        for node in pods.nodes[replicas:]:
            self.free_cores[node] += pods.cores
        del pods.nodes[replicas:]
        del pods.ready_at[replicas:]

    def unbind(self, pods: Pods) -> None:
        """Ends all pods of an order."""
        self.lower(pods, 0)

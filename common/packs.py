"""Which gradients travel together from process to process, and when."""

PACK_BYTES = 25 << 20  # as DistributedDataParallel's: few messages, of which the first goes early


class Packs:
    """Tensors in packs, sent one after the other while the backward pass goes on.

    A pack goes when its last tensor has come and the packs before it have gone: so all processes
    send them in one order, whatever order the tensors come in.
    """

    def __init__(self, sizes, pack_bytes=None):
        """sizes: {name: bytes}, in the order in which the tensors will come.

        pack_bytes: a pack is full with as many; default PACK_BYTES.
        """
        self.packs, self.waiting, self.pack_of = [], [], {}
        room = 0
        for name, size in sizes.items():
            if room <= 0:
                room = PACK_BYTES if pack_bytes is None else pack_bytes
                self.packs.append([])
                self.waiting.append(set())
            room -= size
            self.packs[-1].append(name)
            self.waiting[-1].add(name)
            self.pack_of[name] = len(self.packs) - 1
        self.num_sent = 0

    def missing(self):
        """The names of the tensors that have not come, in order."""
        return [name for names, waiting in zip(self.packs, self.waiting) for name in names
                if name in waiting]

    def come(self, name):
        """Yields the number of each pack that goes now that this tensor is there."""
        self.waiting[self.pack_of[name]].remove(name)
        while self.num_sent < len(self.packs) and not self.waiting[self.num_sent]:
            self.num_sent += 1
            yield self.num_sent - 1

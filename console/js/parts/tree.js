// The tree of actors as rows, and whether a partition's ledger balances.

export const ACTOR_TONES = { running: 'ok', starting: 'accent', restarting: 'warn', parked: 'bad', draining: '' };

/** The tree as rows, each with its depth. */
export const flat = (actors, depth = 0, group) =>
  actors.flatMap((actor, n) => [
    { ...actor, depth, group: group ?? actor.name, n },
    ...flat(actor.children ?? [], depth + 1, group ?? actor.name),
  ]);

/** Every message that was received is stored, a duplicate or rejected. */
export const balances = ({ received, stored, duplicates, rejected }) => received === stored + duplicates + rejected;

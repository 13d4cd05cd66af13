"""Virtual tokens in the same batch: the rows of a soft prompt stand where token embeddings would."""

from __future__ import annotations

from torch import Tensor, nn

from assistant.engine.scheduler import Row


def token_ids(row: Row) -> list[int]:
    """The row's token ids; 0 stands where a virtual token is, to be overwritten by its embedding."""
    sequence = row.sequence
    hidden = max(min(sequence.virtual - row.start, row.count), 0)
    first = max(row.start - sequence.virtual, 0)
    return [0] * hidden + sequence.tokens[first : first + row.count - hidden]


def embed(table: nn.Module, ids: Tensor, rows: list[Row]) -> Tensor:
    """Input embeddings of one step, (1, tokens, hidden), soft prompts in place."""
    embeddings = table(ids)
    offset = 0
    for row in rows:
        lease, virtual = row.sequence.lease, row.sequence.virtual
        if row.start < virtual and lease is not None and lease.weights.embeddings is not None:
            stop = min(virtual, row.start + row.count)
            embeddings[0, offset : offset + stop - row.start] = lease.weights.embeddings[row.start : stop]
        offset += row.count
    return embeddings

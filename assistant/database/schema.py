"""All tables, as the newest migration leaves them."""

from assistant.database.tables import comparisons, conversations, documents, votes
from assistant.database.tables.common import metadata

__all__ = ["comparisons", "conversations", "documents", "metadata", "votes"]

"""Who the browser says it is."""

from __future__ import annotations

import pytest

from assistant.ui.visitor import Visitor, read_visitor


def test_a_visitor_is_the_same_after_the_browser_has_kept_them():
    visitor = Visitor("someone", "conversation")
    assert read_visitor(visitor.kept) == visitor


@pytest.mark.parametrize("kept", [None, {}, {"owner": ""}, {"owner": 3}, "someone", [], {"conversation": "x"}])
def test_whoever_is_not_known_gets_an_id_nobody_can_guess(kept):
    one, two = read_visitor(kept), read_visitor(kept)
    assert one.owner != two.owner and len(one.owner) >= 32 and one.conversation == ""


def test_a_malformed_conversation_is_forgotten():
    assert read_visitor({"owner": "me", "conversation": 7}) == Visitor("me")

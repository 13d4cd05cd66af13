"""The whole circle: answers, votes, reward model, tuned adapter, gate, catalogue, better answers."""

"""The gate: a new adapter is offered to users if it is no worse on the harness and better on its aim."""

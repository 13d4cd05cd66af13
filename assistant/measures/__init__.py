"""How good an answer is against accepted ones: what the page, the API and the harness all count the same way."""

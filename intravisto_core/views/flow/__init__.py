"""Where a prediction comes from (docs/methods.md §6): flow, threshold graph, routes, and what they are made of."""

"""Pure maths on arrays and Weights; nothing here runs a model. Definitions: docs/methods.md."""

"""Questions from a language model: how they are asked for, verified, paid for, and kept from making anybody wait."""

"""Questions from a language model: how they are asked for, proved, paid for, and kept from making anybody wait."""

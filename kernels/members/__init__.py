"""A member's own rows: months, roster, attribution, fates and cost of lines, conditions, score."""

"""Bootstrap weights as a function of member and replicate, sums drawn with them, and quantiles."""

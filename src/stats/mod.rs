//! Statistics: tails, certificates, distances, metrics. Pure functions, each with its source.

//! The stages wired: watch, decode, score, write.

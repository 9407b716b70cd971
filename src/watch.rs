//! Finds files in an inbox: the directory is the queue, an event only a hint.

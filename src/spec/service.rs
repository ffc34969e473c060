//! The options of one service, in the Compose specification's words.

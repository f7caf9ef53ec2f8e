//! Routes learned and originated, the best of them (RFC 4271, 9), and what each peer is told.

//! Calico's resources into what the speaker should do: what confd and its templates did.

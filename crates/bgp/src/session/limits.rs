//! Every bound and interval of a session.

use std::time::Duration;

/// Wait before the second attempt to connect; doubles up to [`RETRY_MAX`].
pub const RETRY_MIN: Duration = Duration::from_millis(100);
/// Longest wait between attempts to connect. BIRD's, as Calico sets it, is 5 s; a refused SYN costs
/// nothing, and a second is what a node's return may take to be noticed.
pub const RETRY_MAX: Duration = Duration::from_secs(1);
/// How long an attempt may go unanswered. The kernel would resend the SYN after 1, 3, 7, 15 s; a
/// path that comes back is noticed sooner with fresh attempts.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// First wait after an error that a NOTIFICATION told of; doubles up to [`ERROR_WAIT_MAX`]. Calico
/// sets BIRD's to 5 s: the first is shorter here, for most such errors at startup end when the
/// other node's configuration arrives. The peer may connect meanwhile.
pub const ERROR_WAIT_MIN: Duration = Duration::from_secs(1);
/// Longest wait after errors; a session that was up for as long starts over at the shortest.
pub const ERROR_WAIT_MAX: Duration = Duration::from_secs(60);
/// How long a peer may take to send its OPEN. RFC 4271, 8.2.2 suggests 4 minutes; whoever accepts
/// connections and says nothing is better asked anew.
pub const OPEN_WAIT: Duration = Duration::from_secs(30);
/// Least time a peer may take nothing of what is to be sent (RFC 9687: at least 8 minutes, and
/// twice the hold time).
pub const SEND_HOLD_MIN: Duration = Duration::from_secs(480);
/// Connections of a session at once: the own attempt or the running one, and one accepted. Of those
/// accepted that haven't led anywhere yet the newest stays: its sender has given up the one before.
pub const CONNECTIONS_MAX: usize = 2;

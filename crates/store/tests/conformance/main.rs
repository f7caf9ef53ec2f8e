//! One suite for every datastore server: whatever passes it can stand behind `store::Datastore`.
//!
//! ```text
//!   cases::* (generic) ──▶ trait Server ──▶ Embedded  (our `datastore`, as a process of its own)
//!                                      ├──▶ Etcd      (Debian's /usr/bin/etcd)
//!                                      └──▶ Kubernetes (a real kube-apiserver, of either layout)
//! ```
//!
//! A new server implements [`server::Server`] and gets a line in [`conformance!`]. What only etcd
//! has (users, TLS, a full database) is in [`access`].

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod cases;
mod embedded;
mod etcd;
mod kubernetes;
mod process;
mod server;
mod wire;

/// Runs a test on a runtime of its own, for at most two minutes.
fn run<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let limit = std::time::Duration::from_secs(120);
        tokio::time::timeout(limit, test).await.expect("the test is stuck")
    })
}

macro_rules! conformance {
    ($($server:ty as $module:ident),* : $cases:tt) => {
        $(conformance!(@server $server, $module, $cases);)*
    };
    (@server $server:ty, $module:ident, [$($file:ident::$case:ident),* $(,)?]) => {
        mod $module {
            $(
                #[test]
                fn $case() {
                    crate::run(async {
                        let mut server = <$server as crate::server::Server>::start().await;
                        crate::cases::$file::$case(&mut server).await;
                    });
                }
            )*
        }
    };
}

conformance! {
    crate::embedded::Embedded as on_embedded,
    crate::etcd::Etcd as on_etcd,
    crate::kubernetes::Kubernetes<false> as on_kubernetes: [
        writes::create_wants_an_absent_object,
        writes::update_and_delete_want_the_revision_read,
        writes::concurrent_updates_lose_none,
        writes::resources_are_typed,
        lists::a_list_is_of_one_revision,
        lists::many_keys,
        watches::changes_come_in_order_without_gap_or_duplicate,
        watches::the_past_is_replayed,
        watches::a_compacted_past_is_told,
        restarts::a_restart_keeps_everything_and_ends_watches,
        restarts::kill_in_the_middle_of_writes_loses_nothing_acknowledged,
        restarts::a_watcher_follows_through_restart_kill_and_compaction,
        restarts::a_stopped_server_is_unreachable,
    ]
}

// What the layout makes a difference to.
conformance! {
    crate::kubernetes::Kubernetes<true> as on_native_kubernetes: [
        writes::create_wants_an_absent_object,
        writes::update_and_delete_want_the_revision_read,
        writes::resources_are_typed,
        lists::a_list_is_of_one_revision,
        watches::changes_come_in_order_without_gap_or_duplicate,
    ]
}

// What only etcd can: it keeps any bytes and its history through a restart, and tells that it has been
// replaced.
conformance! {
    crate::embedded::Embedded as on_embedded_as_etcd, crate::etcd::Etcd as on_etcd_alone: [
        writes::values_come_back_byte_for_byte,
        writes::corrupt_objects_are_named,
        lists::foreign_keys_are_left_out,
        watches::a_future_is_told,
        restarts::a_watch_resumes_after_a_restart,
    ]
}

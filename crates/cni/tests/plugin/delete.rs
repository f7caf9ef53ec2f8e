//! DEL: it always works.

use crate::rig::{HOST_INTERFACE, Rig, configuration, good};
use node::api::{DeleteWorkload, Reply, Request};

#[test]
fn del_removes_all_and_works_twice() {
    let rig = Rig::with_agent();
    rig.good("ADD", &configuration("1.0.0"));
    for _ in 0..2 {
        rig.good("DEL", &configuration("1.0.0"));
        rig.assert_clean();
    }
    let asked = rig.asked();
    assert!(
        matches!(
            asked.as_slice(),
            [Request::AddWorkload(_), Request::DeleteWorkload(_), Request::DeleteWorkload(_)]
        ),
        "{asked:?}"
    );
}

#[test]
fn del_works_without_a_namespace() {
    let rig = Rig::with_agent();
    for netns in ["", "/run/netns/gone", "/dev/null"] {
        let mut input = rig.input("DEL", &configuration("1.0.0"));
        input.environment.insert("CNI_NETNS".into(), netns.into());
        let outcome = rig.run(&input);
        assert!(outcome.success && outcome.stdout.is_empty(), "{netns:?}: {}", outcome.stdout);
    }
    assert_eq!(rig.asked().len(), 3);
}

#[test]
fn without_agent_del_leaves_a_note_that_the_next_add_honours() {
    let rig = Rig::with_agent();
    rig.good("ADD", &configuration("1.0.0"));
    rig.stop_agent();
    for _ in 0..2 {
        rig.good("DEL", &configuration("1.0.0"));
    }
    rig.assert_clean();
    let files: Vec<_> = std::fs::read_dir(&rig.places.spool)
        .expect("the spool")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    assert_eq!(files, ["0123456789abcdef-eth0.json"]);
    let left = std::fs::read(rig.places.spool.join(&files[0])).expect("the note");
    let left: DeleteWorkload = serde_json::from_slice(&left).expect("a removal");
    assert_eq!(left.id.container_id, "0123456789abcdef");
    assert_eq!(left.host_interface, HOST_INTERFACE);
    assert!(left.release_addresses);

    rig.start_agent(good);
    rig.good("ADD", &configuration("1.0.0"));
    let asked = rig.asked();
    let [_, Request::DeleteWorkload(first), Request::AddWorkload(_)] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    assert_eq!(*first, left);
    assert!(!rig.places.spool.join(&files[0]).exists());
}

#[test]
fn an_agent_that_cannot_release_gets_a_note_too() {
    let rig = Rig::new();
    rig.start_agent(|_| Some(Reply::Failed { retry: true, message: "no datastore".into() }));
    rig.good("DEL", &configuration("1.0.0"));
    assert!(rig.places.spool.join("0123456789abcdef-eth0.json").exists());
}

#[test]
fn a_note_that_cannot_be_left_is_an_error() {
    let rig = Rig::new();
    std::fs::write(&rig.places.spool, "a file where the directory belongs").expect("the file");
    let (code, message) = rig.bad("DEL", &configuration("1.0.0"));
    assert!(code == 5 && message.contains("0123456789abcdef"), "{code} {message}");
}

// kubelet repeats the DEL of a dead sandbox when the pod runs in a new one already, whose interface
// on the host has the same name.
#[test]
fn a_late_del_spares_the_pods_new_sandbox() {
    let rig = Rig::with_agent();
    rig.good("ADD", &configuration("1.0.0"));
    let mut input = rig.input("DEL", &configuration("1.0.0"));
    input.environment.insert("CNI_CONTAINERID".into(), "fedcba9876543210".into());
    input.environment.insert("CNI_NETNS".into(), String::new());
    assert!(rig.run(&input).success);
    assert!(rig.on_host("ip -br link").contains(HOST_INTERFACE));
    assert!(rig.in_container("ip -4 route").contains("default via 169.254.1.1"));
}

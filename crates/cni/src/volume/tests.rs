use super::*;
use nix::mount::MsFlags;
use nix::sched::{CloneFlags, unshare};

const UID: &str = "20154c76-bf4e-11e7-8a7e-080027631ab3";

fn ask(words: &[&str], home: &Path) -> (String, String) {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match answer(&words, home) {
        Ok(answer) => (text(&answer["status"]), text(&answer["message"])),
        Err(failure) => (failure.status.to_owned(), failure.message),
    }
}

/// In a mount namespace of its own, which ends with its thread.
#[test]
fn a_pods_directory_comes_and_goes() {
    let in_namespace = || {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).expect("this test needs root");
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        let place = tempfile::tempdir().unwrap();
        let home = place.path().join("home");
        let volume = place.path().join(format!("pods/{UID}/volumes/nodeagent~uds/policysync"));
        std::fs::create_dir_all(&volume).unwrap();
        let options = json!({
            "kubernetes.io/pod.uid": UID, "kubernetes.io/pod.name": "pod1",
            "kubernetes.io/pod.namespace": "default", "kubernetes.io/serviceAccount.name": "one",
            "kubernetes.io/fsType": "",
        });
        let options = options.to_string();
        let directory = volume.to_str().unwrap();
        let (status, message) = ask(&["mount", directory, &options], &home);
        assert_eq!((status.as_str(), message.as_str()), ("Success", "Mount ok."));
        // What the agent puts there the pod sees.
        std::fs::write(home.join("mount").join(UID).join("socket"), "").unwrap();
        assert!(volume.join("nodeagent/socket").exists());
        let credentials = std::fs::read_to_string(home.join(format!("creds/{UID}.json"))).unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(&credentials).unwrap(),
            json!({"UID": UID, "Workload": "pod1", "Namespace": "default", "ServiceAccount": "one"})
        );
        for _repeated in 0..2 {
            let (status, message) = ask(&["unmount", directory], &home);
            assert_eq!((status.as_str(), message.as_str()), ("Success", "Unmount ok."));
            assert_eq!(std::fs::read_dir(&volume).unwrap().count(), 0);
            assert_eq!(std::fs::read_dir(home.join("mount")).unwrap().count(), 0);
            assert_eq!(std::fs::read_dir(home.join("creds")).unwrap().count(), 0);
        }
    };
    std::thread::spawn(in_namespace).join().unwrap();
}

#[test]
fn kubelet_is_told_what_cannot_be_done() {
    let home = Path::new("/nonexistent");
    let init = answer(&["init".to_owned()], home).ok().unwrap();
    assert_eq!(init["capabilities"]["attach"], false);
    for (words, status, said) in [
        (&["attach", "{}", "node"][..], "Not supported", "init, mount and unmount"),
        (&["mount", "/somewhere", "{}"], "Failure", "kubernetes.io/pod.uid"),
        (
            &["mount", "/somewhere", r#"{"kubernetes.io/pod.uid": "../.."}"#],
            "Failure",
            "no pod's UID",
        ),
        (&["unmount", "/somewhere"], "Failure", "no pod's UID"),
    ] {
        let (actual, message) = ask(words, home);
        assert_eq!(actual, status, "{words:?}");
        assert!(message.contains(said), "{words:?}: {message}");
    }
}

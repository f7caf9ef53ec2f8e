//! What is kept, and what it costs.

use super::*;

#[test]
fn nothing_is_left_when_all_have_gone() {
    let peers = [peer("10.0.0.1"), external("10.0.0.2", 65001), peer("10.0.0.3")];
    let mut scene = Scene::new(configuration(), &peers);
    for n in 0..100 {
        let prefixes = [net(&format!("192.168.{n}.0/26")), net(&format!("192.168.{n}.64/26"))];
        let told = Attributes { med: Some(n % 7), as_path: path(&[65001]), ..attributes() };
        scene.learn(n as usize % 2, &announce(&prefixes, "10.0.0.77", told.clone()));
        scene.learn(2, &announce(&prefixes[..1], "10.0.0.77", told));
    }
    assert_eq!(scene.rib.ipv4.counts(), (200, 200));
    // MED makes seven, the peer (whose LOCAL_PREF is the same) none more.
    assert_eq!(scene.rib.shared.attributes.count(), (7, 300));
    scene.rib.take_routes(150);
    scene.told(1);
    for slot in [0, 1, 2].map(|peer| scene.slot(peer)) {
        scene.rib.remove_peer(slot);
    }
    assert_eq!(scene.rib.shared.attributes.count(), (0, 0));
    assert_eq!(scene.rib.ipv4.counts(), (150, 150), "the kernel is to hear that they are gone");
    assert!(scene.rib.take_routes(usize::MAX).iter().all(|change| change.best.is_none()));
    assert_eq!(scene.rib.ipv4.counts(), (0, 0));
}

#[test]
fn what_comes_and_goes_unread_leaves_nothing() {
    let peers = [external("10.0.0.1", 65001), external("10.0.0.2", 65002)];
    let mut scene = Scene::new(configuration(), &peers);
    scene.told(1);
    for n in 0..50 {
        let prefix = net(&format!("192.168.{n}.0/26"));
        let told = Attributes { as_path: path(&[65001]), ..Attributes::default() };
        scene.learn(0, &announce(&[prefix], "10.0.0.1", told));
        assert!(scene.rib.has_output(scene.slot(1)) && scene.rib.routes_changed());
        scene.learn(0, &withdraw(&[prefix]));
        assert!(!scene.rib.has_output(scene.slot(1)) && !scene.rib.routes_changed());
    }
    assert_eq!(scene.rib.ipv4.counts(), (0, 0));
    assert_eq!(scene.rib.shared.attributes.count(), (0, 0));
}

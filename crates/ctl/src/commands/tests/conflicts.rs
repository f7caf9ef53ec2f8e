//! Several writers of one resource.

use super::{Cluster, POOL};

#[tokio::test]
async fn an_older_resource_version_changes_nothing() {
    let cluster = Cluster::with_pool().await;
    let old = cluster.run("get ippool default-ipv4-ippool -o yaml").await.expect("the pool");
    cluster.prints("label ippool default-ipv4-ippool seen=yes").await;
    let before = cluster.everything().await;
    let older = old.replace("ipipMode: Always", "ipipMode: Never");
    for command in ["apply", "replace", "delete"] {
        let error = cluster.fed(&format!("{command} -f -"), &older).await.expect_err(command);
        assert_eq!(
            error,
            format!(
                "Failed to {command} 'IPPool' resource: [update conflict: \
                 IPPool(default-ipv4-ippool) has changed since the resourceVersion in the file: \
                 get it again and repeat the change, or leave metadata.resourceVersion out to \
                 overwrite]"
            )
        );
    }
    let line = r#"patch ippool default-ipv4-ippool -p '{"metadata":{"resourceVersion":"1"}}'"#;
    let error = cluster.run(line).await.expect_err("an older version in the patch");
    assert!(error.contains("update conflict"), "{error}");
    assert_eq!(cluster.everything().await, before);
    cluster.fed("apply -f -", POOL).await.expect("without a version it is overwritten");
}

/// Each reads, changes and writes the same resource: none may undo another's change.
#[tokio::test]
async fn writers_at_once_lose_nothing() {
    let cluster = Cluster::with_pool().await;
    let endpoint = cluster.endpoint();
    let local = tokio::task::LocalSet::new();
    for writer in 0..8 {
        let endpoint = endpoint.clone();
        local.spawn_local(async move {
            let line = format!("label ippool default-ipv4-ippool writer-{writer}=was-here");
            super::typed(&line, "", &endpoint).await.expect("labelled");
        });
    }
    local.await;
    let pool = cluster.prints("get ippool -o yaml").await;
    for writer in 0..8 {
        assert!(pool.contains(&format!("writer-{writer}: was-here")), "{pool}");
    }
}

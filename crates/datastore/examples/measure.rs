//! Measures a running server: `measure http://127.0.0.1:2379`. One client, then 32 at once.

use etcd::client::KvClient;
use etcd::{PutRequest, RangeRequest};
use std::time::Instant;
use tonic::transport::Endpoint;

const ROUNDS: usize = 2_000;
const CLIENTS: usize = 32;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("give the server's URL")?;
    let channel = Endpoint::from_shared(url)?.tcp_nodelay(true).connect().await?;
    let mut kv = KvClient::new(channel.clone());
    let put = |number: usize| PutRequest {
        key: format!("/measure/{number}").into_bytes(),
        value: vec![b'v'; 500],
        ..Default::default()
    };
    let mut puts = Vec::new();
    let mut gets = Vec::new();
    for number in 0..ROUNDS {
        let begin = Instant::now();
        kv.put(put(number)).await?;
        puts.push(begin.elapsed());
        let begin = Instant::now();
        kv.range(RangeRequest { key: put(number).key, ..Default::default() }).await?;
        gets.push(begin.elapsed());
    }
    for (name, mut times) in [("put", puts), ("get", gets)] {
        times.sort_unstable();
        println!("{name}: median {:?}, p99 {:?}", times[ROUNDS / 2], times[ROUNDS * 99 / 100]);
    }
    let begin = Instant::now();
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        let mut kv = KvClient::new(channel.clone());
        clients.spawn(async move {
            for number in 0..ROUNDS / 10 {
                kv.put(put(client * ROUNDS + number)).await?;
            }
            Ok::<(), tonic::Status>(())
        });
    }
    for outcome in clients.join_all().await {
        outcome?;
    }
    let rate = (CLIENTS * ROUNDS / 10) as f64 / begin.elapsed().as_secs_f64();
    println!("{CLIENTS} clients: {rate:.0} puts/s");
    Ok(())
}

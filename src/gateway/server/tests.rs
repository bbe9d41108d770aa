//! What no client can do to the others: each bound, with clients that speak HTTP by hand.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use warp::Filter;

use super::*;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3_600);

/// More than the buffers of both ends of a connection take.
const ENDLESS: usize = 64 << 20;

async fn status(path: &str, places: usize) -> u16 {
    let routes = service_fn(async |request: Request<String>| {
        assert_ne!(request.uri().path(), "/api/panic", "as the test wants it");
        Ok(warp::reply().into_response())
    });
    let request = Request::builder().uri(path).body(String::new()).unwrap();
    let in_flight = Places::new(Bounds {
        in_flight: places,
        place_deadline: Duration::from_millis(1),
        ..bounds()
    });
    let Ok(response) = handle(routes, request, in_flight, Arc::new(Meters::start(&[]))).await;
    assert!(response.headers().contains_key("x-request-id"));
    response.status().as_u16()
}

#[tokio::test]
async fn a_full_gateway_says_so_and_is_alive() {
    assert_eq!(status("/api/x", 1).await, 200);
    assert_eq!(status("/api/x", 0).await, 503);
    assert_eq!(status("/healthz", 0).await, 200);
}

#[tokio::test]
async fn a_request_waits_for_its_turn() {
    let room = Places::new(Bounds {
        in_flight: 1,
        ..bounds()
    });
    let place = room.take().await.unwrap();
    let waiting = tokio::spawn({
        let room = room.clone();
        async move { room.take().await.is_some() }
    });
    // Here a task runs until it waits.
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(place);
    assert!(waiting.await.unwrap());
}

#[tokio::test]
async fn a_panic_is_answered() {
    assert_eq!(status("/api/panic", 1).await, 500);
}

/// A server within these bounds, which answers `/endless` with more than anybody reads, and all else with a word.
struct Served {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

impl Served {
    async fn within(bounds: Bounds) -> Served {
        let endless = warp::path("endless").map(|| vec![b'x'; ENDLESS].into_response());
        let word = warp::any().map(|| "word".into_response());
        let routes = endless.or(word).unify().boxed();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(run(listener, routes, bounds, Arc::new(Meters::start(&[])), stopped));
        Served { address, stop, running }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Ends it, and with it the connections that are idle.
    async fn end(self) {
        self.stop.send_replace(true);
        timeout(PATIENCE, self.running).await.expect("an end in time").unwrap();
    }
}

fn bounds() -> Bounds {
    Bounds {
        connections: 100,
        in_flight: 100,
        place_deadline: NEVER,
        header_deadline: NEVER,
        write_deadline: NEVER,
    }
}

/// All that comes until the server hangs up.
async fn rest(client: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // Hung up, in an orderly way or not.
    let _ = timeout(PATIENCE, client.read_to_end(&mut bytes))
        .await
        .expect("an end in time");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Asks once, and leaves the connection open.
async fn ask(client: &mut TcpStream) -> String {
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut text = String::new();
    let mut part = [0; 1_024];
    while !text.ends_with("word") {
        let length = timeout(PATIENCE, client.read(&mut part))
            .await
            .expect("an answer in time")
            .unwrap();
        assert_ne!(length, 0, "hung up after {text}");
        text += std::str::from_utf8(&part[..length]).unwrap();
    }
    text
}

#[tokio::test]
async fn headers_that_trickle_are_not_waited_for() {
    let header_deadline = Duration::from_millis(300);
    let served = Served::within(Bounds {
        header_deadline,
        ..bounds()
    })
    .await;
    let mut slow = served.connect().await;
    let begun = Instant::now();
    // A byte now and then, each well within the deadline, which is that of all of them.
    let (mut reads, mut writes) = slow.split();
    let trickle = async {
        writes.write_all(b"GET / HTTP/1.1\r\nX-Slow: ").await.unwrap();
        while writes.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let mut answer = Vec::new();
    let hung_up = async {
        timeout(PATIENCE, reads.read_to_end(&mut answer))
            .await
            .expect("an end in time")
    };
    tokio::select! {
        _ = hung_up => (),
        () = trickle => (),
    }
    assert!(begun.elapsed() >= header_deadline);
    assert!(!String::from_utf8_lossy(&answer).contains("200"));
    served.end().await;
}

#[tokio::test]
async fn who_says_nothing_is_hung_up_on() {
    let served = Served::within(Bounds {
        header_deadline: Duration::from_millis(200),
        ..bounds()
    })
    .await;
    // From the beginning, and after an answer.
    let mut silent = served.connect().await;
    assert_eq!(rest(&mut silent).await, "");
    let mut idle = served.connect().await;
    assert!(ask(&mut idle).await.starts_with("HTTP/1.1 200"));
    assert_eq!(rest(&mut idle).await, "");
    served.end().await;
}

#[tokio::test]
async fn who_reads_nothing_is_hung_up_on() {
    let served = Served::within(Bounds {
        write_deadline: Duration::from_millis(200),
        connections: 1,
        ..bounds()
    })
    .await;
    let mut deaf = served.connect().await;
    deaf.write_all(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    // His was the only place: somebody else has it now.
    let mut next = served.connect().await;
    assert!(ask(&mut next).await.starts_with("HTTP/1.1 200"));
    assert!(rest(&mut deaf).await.len() < ENDLESS);
    drop(next);
    served.end().await;
}

#[tokio::test]
async fn headers_have_a_size_and_a_number() {
    let served = Served::within(bounds()).await;
    let with = |headers: String| format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    for (what, request, status) in [
        (
            "much",
            with(format!("X-Long: {}\r\n", "x".repeat(HEADER_BYTES - 100))),
            200,
        ),
        (
            "too much",
            with(format!("X-Long: {}\r\n", "x".repeat(2 * HEADER_BYTES))),
            431,
        ),
        ("many", with("X-Short: x\r\n".repeat(98)), 200),
        ("too many", with("X-Short: x\r\n".repeat(101)), 431),
        (
            "a path that never ends",
            format!("GET /{}", "x".repeat(2 * HEADER_BYTES)),
            431,
        ),
        ("no request", "HELO\r\n\r\n".to_owned(), 400),
    ] {
        let mut client = served.connect().await;
        // It may hang up before all is written, and what it said is lost with what it has not read.
        let _ = client.write_all(request.as_bytes()).await;
        let answer = rest(&mut client).await;
        let is_lost = status != 200 && answer.is_empty();
        assert!(
            is_lost || answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{what}: {answer}"
        );
    }
    served.end().await;
}

#[tokio::test]
async fn who_finds_no_place_waits_for_one() {
    let served = Served::within(Bounds {
        connections: 2,
        ..bounds()
    })
    .await;
    let (mut first, mut second) = (served.connect().await, served.connect().await);
    ask(&mut first).await;
    ask(&mut second).await;
    let mut third = served.connect().await;
    third
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    // The others are answered again and again; this one is not even heard.
    for _ in 0..20 {
        ask(&mut first).await;
        ask(&mut second).await;
    }
    let mut byte = [0];
    assert!(third.try_read(&mut byte).is_err());
    drop(second);
    assert!(rest(&mut third).await.starts_with("HTTP/1.1 200"));
    drop(first);
    served.end().await;
}

//! Whether the server answers at all. One that was stopped, or a network that swallows everything, shows itself by nothing but silence:
//! connections stay open, and every call would wait for its deadline, one after the other. So a call that waits for long feels the pulse, and a
//! server without one is said to be away until it has one again.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, IoError, Opts};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Silence towards everybody after which a call that waits has doubts: longer than a relay and a busy server are ever silent.
const DOUBT: Duration = Duration::from_millis(500);

/// How long a server may take to say that it is there. That needs neither a lock nor the disk.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// Between two looks whether it is there again.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// The pulse of one server. Cloning shares it.
#[derive(Debug, Clone)]
pub(super) struct Pulse {
    heart: Arc<Heart>,
}

#[derive(Debug)]
struct Heart {
    opts: Opts,
    /// When the server said something last.
    heard_at: Mutex<Instant>,
    is_silent: watch::Sender<bool>,
    /// What it is asked on, one at a time.
    connection: tokio::sync::Mutex<Option<Conn>>,
}

impl Pulse {
    pub(super) fn new(opts: &Opts) -> Pulse {
        Pulse {
            heart: Arc::new(Heart {
                opts: opts.clone(),
                heard_at: Mutex::new(Instant::now()),
                is_silent: watch::Sender::new(false),
                connection: tokio::sync::Mutex::default(),
            }),
        }
    }

    /// Notes that the server has said something, whatever it was.
    pub(super) fn heard(&self) {
        *self.heart.heard_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Ends when the server is silent, at once if it is so already. Whoever waits for an answer waits for this, too.
    pub(super) async fn silence(&self) {
        let mut is_silent = self.heart.is_silent.subscribe();
        loop {
            let silent = is_silent.wait_for(|silent| *silent);
            if timeout(DOUBT, silent).await.is_ok() {
                return;
            }
            self.heart.feel().await;
        }
    }
}

impl Heart {
    fn silent_for(&self) -> Duration {
        self.heard_at.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Asks the server whether it is there, unless it was heard meanwhile. Without an answer it is silent until it gives one.
    async fn feel(self: &Arc<Heart>) {
        let mut connection = self.connection.lock().await;
        if *self.is_silent.borrow() || self.silent_for() < DOUBT {
            return;
        }
        if self.answers(&mut connection).await {
            return;
        }
        tracing::warn!("the database server does not answer, and is asked again until it does");
        self.is_silent.send_replace(true);
        tokio::spawn(until_it_answers(Arc::downgrade(self)));
    }

    async fn answers(&self, connection: &mut Option<Conn>) -> bool {
        let known = connection.take();
        let asking = async {
            // One that was cut says nothing of the server.
            if let Some(mut conn) = known
                && conn.ping().await.is_ok()
            {
                return Ok(conn);
            }
            Conn::new(self.opts.clone()).await
        };
        let answered = match timeout(ANSWERS_WITHIN, asking).await {
            Ok(Ok(conn)) => {
                *connection = Some(conn);
                true
            }
            // Its queue is full of those whom it has not answered.
            Ok(Err(mysql_async::Error::Io(IoError::Io(error)))) => error.kind() != ErrorKind::WouldBlock,
            // A refusal is an answer; what follows from it is for the calls to find out.
            Ok(Err(_)) => true,
            Err(_) => false,
        };
        if answered {
            *self.heard_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
        answered
    }
}

/// Asks on, for as long as there is somebody who wants to know.
async fn until_it_answers(heart: Weak<Heart>) {
    while let Some(heart) = heart.upgrade() {
        if heart.answers(&mut *heart.connection.lock().await).await {
            tracing::info!("the database server answers again");
            heart.is_silent.send_replace(false);
            return;
        }
        drop(heart);
        sleep(LOOK_PAUSE).await;
    }
}

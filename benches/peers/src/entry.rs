//! A column of the table: a client, ready to be run by name.

use std::{net::SocketAddr, pin::Pin};

use tokio::net::TcpStream;

use crate::{
    connect,
    cost::{Cost, Meter},
    drive::{Drive, Task},
    error::Result,
    payload::{Content, Kind},
    peer::About,
    workload::{Action, Workload},
};

type Running<T> = Pin<Box<dyn Future<Output = Result<T>>>>;

#[derive(Clone, Copy)]
pub struct Entry {
    pub about: About,
    pub is_client: bool,
    measure: fn(SocketAddr, Task) -> Running<Cost>,
    check: fn(SocketAddr, Task) -> Running<()>,
}

impl Entry {
    pub const fn of<D: Drive<Io = TcpStream> + 'static>() -> Self {
        Self {
            about: D::ABOUT,
            is_client: D::IS_CLIENT,
            measure: |server, task| Box::pin(measure::<D>(server, task)),
            check: |server, task| Box::pin(check::<D>(server, task)),
        }
    }

    /// Does the task and tells what it cost, from the end of the opening handshake on.
    pub async fn measure(&self, server: SocketAddr, task: Task) -> Result<Cost> {
        (self.measure)(server, task).await
    }

    /// Does the task with every payload compared, which also warms up.
    pub async fn check(&self, server: SocketAddr, task: Task) -> Result<()> {
        (self.check)(server, Task { checked: true, ..task }).await
    }

    /// Why there is no figure for this workload, if there is none.
    pub fn lacks(&self, workload: &Workload) -> Option<&'static str> {
        let need = workload.need()?;
        self.about.lacks.iter().find(|(lacked, _)| *lacked == need).map(|(_, why)| *why)
    }
}

async fn measure<D: Drive<Io = TcpStream>>(server: SocketAddr, task: Task) -> Result<Cost> {
    let stream = connect::open(server, task.job(&D::ABOUT)).await?;
    let meter = Meter::start();
    D::run(stream, task).await?;
    Ok(meter.stop())
}

async fn check<D: Drive<Io = TcpStream>>(server: SocketAddr, task: Task) -> Result<()> {
    D::run(connect::open(server, task.job(&D::ABOUT)).await?, task).await?;
    let Workload { content, action, .. } = task.workload;
    if D::IS_CLIENT && matches!(action, Action::Receive { .. }) && content.kind() == Kind::Text {
        refuse_broken_text::<D>(server, task).await?;
    }
    Ok(())
}

/// Fails if the client takes text that is not UTF-8. The text is short, so that the server has sent it by then.
async fn refuse_broken_text<D: Drive<Io = TcpStream>>(server: SocketAddr, task: Task) -> Result<()> {
    let workload = Workload { content: Content::Broken, size: 64, ..task.workload };
    let task = Task { workload, count: 1, checked: false };
    let stream = connect::open(server, task.job(&D::ABOUT)).await?;
    match D::run(stream, task).await {
        Ok(()) => Err("it takes text that is not UTF-8".into()),
        Err(_) => Ok(()),
    }
}

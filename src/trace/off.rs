//! A trace that shows nothing: the feature `tracing` is off.

use std::{future::Future, time::Duration};

use url::Url;

use super::{Agreed, Side};
use crate::{
    close::{CloseCode, Closed},
    error::{Error, Phase},
    stats::Stats,
};

#[derive(Debug, Clone, Default)]
pub(crate) struct Trace(());

impl Trace {
    #[inline]
    pub(crate) fn to(_: &Url) -> Self {
        Self(())
    }

    #[inline]
    pub(crate) fn upgraded() -> Self {
        Self(())
    }

    #[inline]
    pub(crate) async fn attempt<T>(&self, attempt: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        attempt.await
    }

    #[inline]
    pub(crate) async fn phase<T>(&self, _: Phase, step: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        step.await
    }

    #[inline]
    pub(crate) fn agreed(&self, _: Agreed) {}

    #[inline]
    pub(crate) fn redirected(&self, _: http::StatusCode, _: &Url) {}

    #[inline]
    pub(crate) fn keepalive_sent(&self) {}

    #[inline]
    pub(crate) fn keepalive_lost(&self, _: Duration) {}

    #[inline]
    pub(crate) fn pong(&self, _: Duration) {}

    #[inline]
    pub(crate) fn closing(&self, _: Side, _: Option<CloseCode>) {}

    #[inline]
    pub(crate) fn close_answered(&self, _: Option<CloseCode>) {}

    #[inline]
    pub(crate) fn failing(&self, _: &Error) {}
}

#[derive(Debug, Default)]
pub(crate) struct Lifespan(());

impl Lifespan {
    #[inline]
    pub(crate) fn begin(_: Trace) -> Self {
        Self(())
    }

    #[inline]
    pub(crate) fn end(&mut self, _: impl FnOnce() -> (Option<Closed>, Option<Error>, Stats)) {}

    #[inline]
    pub(crate) fn hand_out(&mut self) {}
}

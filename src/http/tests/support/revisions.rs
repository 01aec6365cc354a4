//! What changed after it was final: one revision, whatever is asked.

use actix::Handler;

use super::{FixedAnswers, LETTER, MODEL, at};
use crate::{
    actors::serving::{
        error::QueryError,
        query::{Execute, GetRevisions},
    },
    domain::{
        money::Cents,
        page::Page,
        query::Usage,
        revision::{Reason, Revision, RevisionPage},
    },
};

impl Handler<Execute<GetRevisions>> for FixedAnswers {
    type Result = Result<RevisionPage, QueryError>;

    /// Names the query by the one revision: its models by how many it is of, its limit by the changes. An erasure, so that
    /// it has less than before.
    fn handle(
        &mut self,
        Execute { query: GetRevisions(query), .. }: Execute<GetRevisions>,
        _: &mut Self::Context,
    ) -> Self::Result {
        if let Some(error) = self.error {
            return Err(error);
        }
        let usage = |n, units| Usage {
            invocations: n,
            input_tokens: 15 * n,
            output_tokens: 20 * n,
            cost: Cents::from_ten_thousandths(units),
        };
        let revision = Revision {
            revision_id: LETTER,
            model_id: query.models.first().copied().unwrap_or(MODEL),
            bucket_start: query.hours.start(),
            reason: query.reason.unwrap_or(Reason::Erasure),
            revised_at: at("2026-03-02T10:59:58.5Z"),
            changes: query.limit.into(),
            before: usage(2, 15_001),
            after: usage(1, 1),
        };
        let page = Page { entries: vec![revision], more: query.before.is_none() };
        Ok(RevisionPage { page, as_of: Some(query.hours.end()) })
    }
}

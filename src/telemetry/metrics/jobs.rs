//! Background jobs that the database runs for the service.

use prometheus_client::{
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{Metrics, OfJob, Seconds};

/// Those of a job are there while there is the job.
#[derive(Clone, Default)]
pub(super) struct JobMetrics {
    all: Gauge,
    last_success: Family<OfJob, Seconds>,
    failures: Family<OfJob, Gauge>,
    waiting: Family<OfJob, Gauge>,
    materialisation_lag: Seconds,
}

/// What a job's series show.
#[derive(Clone, Debug)]
pub struct JobState {
    pub job: String,
    /// Unix seconds; none: it never had success.
    pub succeeded_at: Option<f64>,
    pub failures: i64,
    /// None where it is unknown what it has to do.
    pub waits_seconds: Option<i64>,
}

impl JobMetrics {
    pub(super) fn register(&self, r: &mut Registry) {
        r.register("background_jobs", "Background jobs that the database runs for the service", self.all.clone());
        r.register(
            "background_job_last_success_timestamp",
            "When a background job of the database last succeeded by the database's word, Unix seconds",
            self.last_success.clone(),
        );
        r.register(
            "background_job_failures",
            "Runs of a background job that the database counts as failed",
            self.failures.clone(),
        );
        r.register(
            "background_job_waiting_seconds",
            "For how long a background job of the database has left something undone",
            self.waiting.clone(),
        );
        r.register(
            "materialisation_lag_seconds",
            "How far continuous aggregates are behind the clock, 0 where live rollups are read",
            self.materialisation_lag.clone(),
        );
    }
}

impl Metrics {
    /// How the jobs are now. The series of those that were shown `before` and are no more go.
    pub fn background_jobs(&self, jobs: &[JobState], before: &[String]) {
        let of = |job: &str| OfJob { job: job.to_owned() };
        self.jobs.all.set(i64::try_from(jobs.len()).unwrap_or(i64::MAX));
        for job in jobs {
            let labels = of(&job.job);
            self.jobs.last_success.get_or_create(&labels).set(job.succeeded_at.unwrap_or_default());
            self.jobs.failures.get_or_create(&labels).set(job.failures);
            match job.waits_seconds {
                Some(waits) => drop(self.jobs.waiting.get_or_create(&labels).set(waits)),
                None => drop(self.jobs.waiting.remove(&labels)),
            }
        }
        for gone in before.iter().filter(|name| jobs.iter().all(|job| job.job != **name)) {
            let labels = of(gone);
            self.jobs.last_success.remove(&labels);
            self.jobs.failures.remove(&labels);
            self.jobs.waiting.remove(&labels);
        }
    }

    pub fn materialisation_lag(&self, seconds: f64) {
        self.jobs.materialisation_lag.set(seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jobs_series_go_with_the_job() {
        let metrics = Metrics::default();
        let lines = |metrics: &Metrics| metrics.encode().unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
        assert!(lines(&metrics).contains(&"analytics_background_jobs 0".to_owned()));
        assert!(lines(&metrics).contains(&"analytics_materialisation_lag_seconds 0.0".to_owned()));
        let job = |name: &str| JobState {
            job: name.to_owned(),
            succeeded_at: Some(1_700_000_000.5),
            failures: 7,
            waits_seconds: Some(90),
        };
        metrics.background_jobs(&[job("refresh"), job("compression")], &[]);
        for line in [
            "analytics_background_jobs 2",
            r#"analytics_background_job_last_success_timestamp{job="refresh"} 1700000000.5"#,
            r#"analytics_background_job_failures{job="refresh"} 7"#,
            r#"analytics_background_job_waiting_seconds{job="compression"} 90"#,
        ] {
            assert!(lines(&metrics).iter().any(|found| found == line), "{line}");
        }
        metrics.background_jobs(&[job("compression")], &["refresh".to_owned(), "compression".to_owned()]);
        let left = lines(&metrics);
        assert!(left.iter().all(|line| !line.contains("refresh")), "{left:?}");
        assert!(left.iter().any(|line| line.contains(r#"{job="compression"}"#)));
    }
}

//! Background jobs that the database runs for the service.

use super::{Metrics, of};

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

impl Metrics {
    /// How the jobs are now. The series of those that were shown `before` and are no more go.
    pub fn background_jobs(&self, jobs: &[JobState], before: &[String]) {
        let series = &self.series;
        series.background_jobs.set(i64::try_from(jobs.len()).unwrap_or(i64::MAX));
        for JobState { job, succeeded_at, failures, waits_seconds } in jobs {
            let last_success = of::background_job_last_success_timestamp { job: job.clone() };
            let succeeded_at = succeeded_at.unwrap_or_default();
            series.background_job_last_success_timestamp.get_or_create(&last_success).set(succeeded_at);
            let failed = of::background_job_failures { job: job.clone() };
            series.background_job_failures.get_or_create(&failed).set(*failures);
            let waiting = of::background_job_waiting_seconds { job: job.clone() };
            match *waits_seconds {
                Some(waits) => drop(series.background_job_waiting_seconds.get_or_create(&waiting).set(waits)),
                None => drop(series.background_job_waiting_seconds.remove(&waiting)),
            }
        }
        for gone in before.iter().filter(|name| jobs.iter().all(|job| job.job != **name)) {
            let job = || gone.clone();
            let last_success = of::background_job_last_success_timestamp { job: job() };
            series.background_job_last_success_timestamp.remove(&last_success);
            series.background_job_failures.remove(&of::background_job_failures { job: job() });
            series.background_job_waiting_seconds.remove(&of::background_job_waiting_seconds { job: job() });
        }
    }

    pub fn materialisation_lag(&self, seconds: f64) {
        self.series.materialisation_lag_seconds.set(seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Format, *};

    #[test]
    fn a_jobs_series_go_with_the_job() {
        let metrics = Metrics::default();
        let lines = |metrics: &Metrics| {
            let text = metrics.encode(Format::OpenMetrics).unwrap();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        };
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

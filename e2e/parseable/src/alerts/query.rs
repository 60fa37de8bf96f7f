//! The SQL of an alert: what makes one, and what it says now.

use std::sync::Arc;

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::config::Dialect;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Aggregate, LogicalPlan};

use crate::Shared;
use crate::answer::Answer;
use crate::query::{context, register};
use crate::stream::{Scan, Window};

/// Where a query looks its stream up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tenant {
    /// Where the streams are.
    Own,
    /// Where the recorded server looks for those of alerts it has read from storage. Nothing is there.
    Lost,
}

/// What an alert measured.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Measured {
    pub(crate) groups: Vec<Group>,
    pub(crate) is_grouped: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Group {
    /// Column and value, in the order of the query.
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: f64,
}

/// Judges an alert's query; the one stream it reads.
pub(crate) async fn judge(
    shared: &Arc<Shared>,
    sql: &str,
    tenant: Tenant,
    may_read: impl Fn(&str) -> Result<(), Answer> + Send + Sync + 'static,
) -> Result<String, Answer> {
    let (inner, sql) = (Arc::clone(shared), sql.to_owned());
    shared
        .engine
        .run(async move {
            let (stream, plan) = plan(&inner, &sql, tenant, None, &may_read).await?;
            match find_aggregate(&plan).map_or(0, |aggregate| aggregate.aggr_expr.len()) {
                1 => Ok(stream),
                found => Err(Answer::bad_request(format!(
                    "Invalid alert query: Found {found} aggregate expressions, only 1 allowed"
                ))),
            }
        })
        .await
}

/// Runs an alert's query over `window`.
pub(crate) async fn measure(
    shared: &Arc<Shared>,
    sql: &str,
    tenant: Tenant,
    window: Window,
    now: DateTime<Utc>,
) -> Result<Measured, Answer> {
    let (inner, sql) = (Arc::clone(shared), sql.to_owned());
    let scan = Scan { window, now, minute: shared.alert_minute() };
    shared
        .engine
        .run(async move {
            let (_, plan) = plan(&inner, &sql, tenant, Some(scan), &|_: &str| Ok(())).await?;
            let value = value_column(&plan);
            let frame = DataFrame::new(context().state(), plan);
            let batches = frame.collect().await.map_err(|e| Answer::internal(e.to_string()))?;
            Ok(read(&batches, value))
        })
        .await
}

async fn plan(
    shared: &Shared,
    sql: &str,
    tenant: Tenant,
    scan: Option<Scan>,
    may_read: &(impl Fn(&str) -> Result<(), Answer> + Sync),
) -> Result<(String, LogicalPlan), Answer> {
    let refused = |error: DataFusionError| {
        Answer::bad_request(format!("Error: Failed to parse query: {error}"))
    };
    let context = match tenant {
        Tenant::Own => context(),
        Tenant::Lost => crate::query::context_in("DEFAULT_TENANT"),
    };
    let state = context.state();
    let statement = state.sql_to_statement(sql, &Dialect::PostgreSQL).map_err(|error| {
        Answer::Text(StatusCode::INTERNAL_SERVER_ERROR, error.find_root().to_string())
    })?;
    let tables = state.resolve_table_references(&statement).map_err(refused)?;
    let mut streams: Vec<String> = tables.iter().map(|table| table.table().to_owned()).collect();
    streams.sort();
    streams.dedup();
    let [stream] = <[String; 1]>::try_from(streams).map_err(|streams| {
        Answer::bad_request(format!("Alert should include only one dataset. Found: {streams:?}"))
    })?;
    may_read(&stream)?;
    if tenant == Tenant::Own {
        register(shared, &context, &stream, scan).map_err(refused)?;
    }
    let plan = context.state().statement_to_plan(statement).await.map_err(refused)?;
    Ok((stream, plan))
}

/// The outermost aggregation.
fn find_aggregate(mut plan: &LogicalPlan) -> Option<&Aggregate> {
    loop {
        plan = match plan {
            LogicalPlan::Aggregate(aggregate) => return Some(aggregate),
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::SubqueryAlias(_) => plan.inputs().first().copied()?,
            _ => return None,
        }
    }
}

/// Which column of the result holds the aggregate.
fn value_column(plan: &LogicalPlan) -> Option<usize> {
    let expression = find_aggregate(plan)?.aggr_expr.first()?;
    let name = expression.schema_name().to_string();
    let mut plan = plan;
    loop {
        plan = match plan {
            LogicalPlan::Projection(projection) => {
                return projection.expr.iter().position(|column| {
                    column.column_refs().iter().any(|reference| reference.name == name)
                });
            }
            LogicalPlan::Aggregate(_) => return plan.schema().index_of_column_by_name(None, &name),
            _ => plan.inputs().first().copied()?,
        }
    }
}

/// No row at all counts as one value of zero.
fn read(batches: &[RecordBatch], value: Option<usize>) -> Measured {
    let columns = batches.first().map_or(1, RecordBatch::num_columns);
    let is_grouped = columns > 1;
    let mut groups = Vec::new();
    for batch in batches {
        let schema = batch.schema();
        for row in 0..batch.num_rows() {
            let labels = schema
                .fields()
                .iter()
                .enumerate()
                .filter(|(index, _)| Some(*index) != value)
                .map(|(index, field)| (field.name().clone(), label(batch.column(index), row)))
                .collect();
            let value = value.map_or(0.0, |index| number(batch.column(index), row));
            groups.push(Group { labels, value });
        }
    }
    if groups.is_empty() {
        groups.push(Group { labels: Vec::new(), value: 0.0 });
    }
    Measured { groups, is_grouped }
}

/// Other types than these count as zero.
fn number(column: &dyn Array, row: usize) -> f64 {
    if column.is_null(row) {
        return 0.0;
    }
    match column.data_type() {
        #[allow(clippy::cast_precision_loss, reason = "the server's own arithmetic")]
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row) as f64,
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row),
        _ => 0.0,
    }
}

/// Other types than these print as null.
fn label(column: &dyn Array, row: usize) -> String {
    if column.is_null(row) {
        return "null".to_owned();
    }
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).to_string(),
        _ => "null".to_owned(),
    }
}

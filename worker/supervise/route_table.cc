// SPDX-License-Identifier: Apache-2.0
// The tables. Their order is that of Airflow's union of messages (airflow.sdk's comms.py). A
// dialect has a table of what it adds or changes; the rest it takes from those before it.
#include <algorithm>
#include <array>

#include "worker/supervise/routes.h"

namespace zkexec {
namespace {

using B = Route::Body;
using P = Route::Param;
using R = Route::Reply;
using W = Route::When;

constexpr char kState[] = "task-instances/{}/state";
constexpr char kXCom[] = "xcoms/{dag_id}/{run_id}/{task_id}/{key}";

constexpr std::array<P, 0> kNone{};
constexpr std::array kXComGet{P{"map_index", "map_index", W::kNonNegative},
                              P{"include_prior_dates", "include_prior_dates", W::kTrue}};
constexpr std::array kXComSet{P{"dag_result", "dag_result", W::kTrue},
                              P{"map_index", "map_index", W::kNonNegative},
                              P{"mapped_length", "mapped_length", W::kNonNegative}};
constexpr std::array kXComDelete{P{"map_index", "map_index", W::kNonNegative}};
constexpr std::array kXComSlice{P{"start", "start"}, P{"stop", "stop"}, P{"step", "step"},
                                P{"include_prior_dates", "include_prior_dates", W::kTrue}};
constexpr std::array kVariableKeys{P{"limit", "limit"}, P{"offset", "offset"},
                                   P{"prefix", "prefix"}};
constexpr std::array kTryNumber{P{"try_number", "try_number"}};
constexpr std::array kTiCount{P{"dag_id", "dag_id"},
                              P{"task_ids", "task_ids"},
                              P{"task_group_id", "task_group_id"},
                              P{"logical_dates", "logical_dates", W::kPresent, true},
                              P{"run_ids", "run_ids"},
                              P{"states", "states"},
                              P{"map_index", "map_index", W::kNonNegative}};
constexpr std::array kTaskStates{P{"dag_id", "dag_id"},
                                 P{"task_ids", "task_ids"},
                                 P{"task_group_id", "task_group_id"},
                                 P{"logical_dates", "logical_dates", W::kPresent, true},
                                 P{"run_ids", "run_ids"},
                                 P{"map_index", "map_index", W::kNonNegative}};
constexpr std::array kDagRunCount{P{"dag_id", "dag_id"},
                                  P{"logical_dates", "logical_dates", W::kPresent, true},
                                  P{"run_ids", "run_ids"}, P{"states", "states"}};
constexpr std::array kPreviousDagRun{P{"dag_id", "dag_id"},
                                     P{"logical_date", "logical_date", W::kPresent, true},
                                     P{"state", "state", W::kTrue}};
constexpr std::array kPreviousTi{P{"map_index", "map_index", W::kAlways},
                                 P{"logical_date", "logical_date", W::kTrue, true},
                                 P{"state", "state", W::kTrue}};
constexpr std::array kBreadcrumbs{P{"dag_id", "dag_id"}, P{"run_id", "run_id"}};
constexpr std::array kName{P{"name", "name"}};
constexpr std::array kUri{P{"uri", "uri"}};
constexpr std::array kAlias{P{"alias_name", "alias_name"}};
constexpr std::array kEventsByAsset{
    P{"name", "name", W::kAlways},       P{"uri", "uri", W::kAlways},
    P{"after", "after", W::kTrue, true}, P{"before", "before", W::kTrue, true},
    P{"ascending", "ascending"},         P{"limit", "limit", W::kTrue}};
constexpr std::array kEventsByAlias{P{"name", "alias_name"}, P{"after", "after", W::kTrue, true},
                                    P{"before", "before", W::kTrue, true},
                                    P{"ascending", "ascending"}, P{"limit", "limit", W::kTrue}};
constexpr std::array kNameKey{P{"name", "name"}, P{"key", "key"}};
constexpr std::array kUriKey{P{"uri", "uri"}, P{"key", "key"}};

constexpr char kTaskStore[] = "store/ti/{ti_id}/{key!}";
constexpr char kByName[] = "store/asset/by-name/value";
constexpr char kByUri[] = "store/asset/by-uri/value";

// clang-format off
constexpr std::array kRoutes{
    // How a task ends. (TaskState is remembered, not sent: see task.h.)
    Route{"SucceedTask", "PATCH", kState, kNone, B::kAll},
    Route{"RetryTask", "PATCH", kState, kNone, B::kAll},
    Route{"DeferTask", "PATCH", kState, kNone, B::kAll},
    Route{"AwaitInputTask", "PATCH", kState, kNone, B::kAll},
    Route{"RescheduleTask", "PATCH", kState, kNone, B::kAll},
    Route{"SkipDownstreamTasks", "PATCH", "task-instances/{}/skip-downstream", kNone, B::kAll},
    Route{"SetRenderedFields", "PUT", "task-instances/{}/rtif", kNone, B::kValue, "rendered_fields",
          R::kNothing, "", "", "", "", false, true},
    Route{"SetRenderedMapIndex", "PATCH", "task-instances/{}/rendered-map-index", kNone, B::kValue,
          "rendered_map_index"},

    Route{"GetConnection", "GET", "connections/{conn_id}", kNone, B::kNone, "", R::kObject,
          "ConnectionResult", "", "CONNECTION_NOT_FOUND", "conn_id", true},
    Route{"GetVariable", "GET", "variables/{key}", kNone, B::kNone, "", R::kObject,
          "VariableResult", "", "VARIABLE_NOT_FOUND", "key", true},
    Route{"GetVariableKeys", "GET", "variables/keys", kVariableKeys, B::kNone, "", R::kObject,
          "VariableKeysResult"},
    Route{"PutVariable", "PUT", "variables/{key}", kNone, B::kFields, "val=value,description"},
    Route{"DeleteVariable", "DELETE", "variables/{key}", kNone, B::kNone, "", R::kOk},

    Route{"GetXCom", "GET", kXCom, kXComGet, B::kNone, "", R::kObject, "XComResult", "", "", "key"},
    Route{"GetXComCount", "HEAD", kXCom, kNone, B::kNone, "", R::kCount, "XComCountResponse"},
    Route{"GetXComSequenceItem", "GET", "xcoms/{dag_id}/{run_id}/{task_id}/{key}/item/{offset}",
          kNone, B::kNone, "", R::kUnder, "XComSequenceIndexResult", "root",
          "XCOM_NOT_FOUND", "dag_id,run_id,task_id,key,offset"},
    Route{"GetXComSequenceSlice", "GET", "xcoms/{dag_id}/{run_id}/{task_id}/{key}/slice",
          kXComSlice, B::kNone, "", R::kUnder, "XComSequenceSliceResult", "root"},
    Route{"SetXCom", "POST", kXCom, kXComSet, B::kValue, "value"},
    Route{"DeleteXCom", "DELETE", kXCom, kXComDelete},

    Route{"TriggerDagRun", "POST", "dag-runs/{dag_id}/{run_id}", kNone, B::kNonEmpty,
          "logical_date,run_after,conf,reset_dag_run,note", R::kOk},
    Route{"GetDagRun", "GET", "dag-runs/{dag_id}/{run_id}", kNone, B::kNone, "", R::kObject,
          "DagRunResult"},
    Route{"GetDagRunState", "GET", "dag-runs/{dag_id}/{run_id}/state", kNone, B::kNone, "",
          R::kObject, "DagRunStateResult"},
    Route{"GetPreviousDagRun", "GET", "dag-runs/previous", kPreviousDagRun, B::kNone, "",
          R::kUnder, "PreviousDagRunResult", "dag_run"},
    Route{"GetPreviousTI", "GET", "task-instances/previous/{dag_id}/{task_id}", kPreviousTi,
          B::kNone, "", R::kUnder, "PreviousTIResult", "task_instance"},
    Route{"GetPrevSuccessfulDagRun", "GET", "task-instances/{}/previous-successful-dagrun", kNone,
          B::kNone, "", R::kObject, "PrevSuccessfulDagRunResult"},
    Route{"GetTICount", "GET", "task-instances/count", kTiCount, B::kNone, "", R::kUnder,
          "TICount", "count"},
    Route{"GetTaskStates", "GET", "task-instances/states", kTaskStates, B::kNone, "", R::kObject,
          "TaskStatesResult"},
    Route{"GetDRCount", "GET", "dag-runs/count", kDagRunCount, B::kNone, "", R::kUnder,
          "DRCount", "count"},
    Route{"GetTaskBreadcrumbs", "GET", "task-instances/breadcrumbs", kBreadcrumbs, B::kNone, "",
          R::kObject, "TaskBreadcrumbsResult"},
    Route{"GetTaskRescheduleStartDate", "GET", "task-reschedules/{ti_id}/start_date", kTryNumber,
          B::kNone, "", R::kUnder, "TaskRescheduleStartDate", "start_date"},
    Route{"GetDag", "GET", "dags/{dag_id!}", kNone, B::kNone, "", R::kObject, "DagResult"},

    Route{"GetAssetByName", "GET", "assets/by-name", kName, B::kNone, "", R::kObject,
          "AssetResult", "", "ASSET_NOT_FOUND", "name"},
    Route{"GetAssetByUri", "GET", "assets/by-uri", kUri, B::kNone, "", R::kObject,
          "AssetResult", "", "ASSET_NOT_FOUND", "uri"},
    Route{"GetAssetsByAlias", "GET", "assets/by-alias", kAlias, B::kNone, "", R::kUnder,
          "AssetsByAliasResult", "assets"},
    Route{"GetAssetEventByAsset", "GET", "asset-events/by-asset", kEventsByAsset, B::kNone, "",
          R::kObject, "AssetEventsResult"},
    Route{"GetAssetEventByAssetAlias", "GET", "asset-events/by-asset-alias", kEventsByAlias,
          B::kNone, "", R::kObject, "AssetEventsResult"},
    Route{"ValidateInletsAndOutlets", "GET",
          "task-instances/{ti_id}/validate-inlets-and-outlets", kNone, B::kNone, "", R::kObject,
          "InactiveAssetsResult"},

    Route{"GetTaskStateStore", "GET", kTaskStore, kNone, B::kNone, "", R::kObject,
          "TaskStateStoreResult", "", "TASK_STORE_NOT_FOUND", "key"},
    Route{"SetTaskStateStore", "PUT", kTaskStore, kNone, B::kFields, "value,expires_at", R::kOk},
    Route{"DeleteTaskStateStore", "DELETE", kTaskStore, kNone, B::kNone, "", R::kOk},
    Route{"ClearTaskStateStore", "DELETE", "store/ti/{ti_id}", kNone, B::kNone, "", R::kOk},
    Route{"GetAssetStateStoreByName", "GET", kByName, kNameKey, B::kNone, "", R::kObject,
          "AssetStateStoreResult", "", "ASSET_STORE_NOT_FOUND", "key"},
    Route{"GetAssetStateStoreByUri", "GET", kByUri, kUriKey, B::kNone, "", R::kObject,
          "AssetStateStoreResult", "", "ASSET_STORE_NOT_FOUND", "key"},
    Route{"SetAssetStateStoreByName", "PUT", kByName, kNameKey, B::kFields, "value", R::kOk},
    Route{"SetAssetStateStoreByUri", "PUT", kByUri, kUriKey, B::kFields, "value", R::kOk},
    Route{"DeleteAssetStateStoreByName", "DELETE", kByName, kNameKey, B::kNone, "", R::kOk},
    Route{"DeleteAssetStateStoreByUri", "DELETE", kByUri, kUriKey, B::kNone, "", R::kOk},
    Route{"ClearAssetStateStoreByName", "DELETE", "store/asset/by-name/clear", kName, B::kNone, "",
          R::kOk},
    Route{"ClearAssetStateStoreByUri", "DELETE", "store/asset/by-uri/clear", kUri, B::kNone, "",
          R::kOk},

    Route{"CreateHITLDetailPayload", "POST", "hitlDetails/{ti_id}", kNone, B::kWithType, "",
          R::kObject, "HITLDetailRequestResult"},
};
// clang-format on

// 3.4: loops, whose tasks ask for values of the iteration before; partitions of assets; notes.
constexpr P kPrevious{"previous_iteration", "previous_iteration", W::kTrue};
constexpr std::array kXComGet34{kPrevious, kXComGet[0], kXComGet[1]};
constexpr std::array kXComLoop34{kPrevious};
constexpr std::array kXComSlice34{kPrevious, kXComSlice[0], kXComSlice[1], kXComSlice[2],
                                  kXComSlice[3]};
constexpr std::array kEventsByAsset34{
    P{"name", "name", W::kAlways},
    P{"uri", "uri", W::kAlways},
    P{"after", "after", W::kTrue, true},
    P{"before", "before", W::kTrue, true},
    P{"ascending", "ascending"},
    P{"limit", "limit"},
    P{"partition_key", "partition_key"},
    P{"partition_key_regexp_pattern", "partition_key_regexp_pattern"},
    P{"extra", "extra", W::kTrue}};
constexpr std::array kEventsByAlias34{
    P{"name", "alias_name"},
    P{"after", "after", W::kTrue, true},
    P{"before", "before", W::kTrue, true},
    P{"ascending", "ascending"},
    P{"limit", "limit"},
    P{"partition_key", "partition_key"},
    P{"partition_key_regexp_pattern", "partition_key_regexp_pattern"},
    P{"extra", "extra", W::kTrue}};

// clang-format off
constexpr std::array kRoutes34{
    Route{"GetConnection", "GET", "connections/{conn_id!}", kNone, B::kNone, "", R::kObject,
          "ConnectionResult", "", "CONNECTION_NOT_FOUND", "conn_id", true},
    Route{"GetXCom", "GET", kXCom, kXComGet34, B::kNone, "", R::kObject, "XComResult", "", "",
          "key"},
    Route{"GetXComCount", "HEAD", kXCom, kXComLoop34, B::kNone, "", R::kCount,
          "XComCountResponse"},
    Route{"GetXComSequenceItem", "GET", "xcoms/{dag_id}/{run_id}/{task_id}/{key}/item/{offset}",
          kXComLoop34, B::kNone, "", R::kUnder, "XComSequenceIndexResult", "root",
          "XCOM_NOT_FOUND", "dag_id,run_id,task_id,key,offset"},
    Route{"GetXComSequenceSlice", "GET", "xcoms/{dag_id}/{run_id}/{task_id}/{key}/slice",
          kXComSlice34, B::kNone, "", R::kUnder, "XComSequenceSliceResult", "root"},
    Route{"GetAssetEventByAsset", "GET", "asset-events/by-asset", kEventsByAsset34, B::kNone, "",
          R::kObject, "AssetEventsResult"},
    Route{"GetAssetEventByAssetAlias", "GET", "asset-events/by-asset-alias", kEventsByAlias34,
          B::kNone, "", R::kObject, "AssetEventsResult"},
    Route{"UpdateDagRunNote", "PATCH", "task-instances/{ti_id}/dag-run-note", kNone, B::kFields,
          "note", R::kOk},
};
// clang-format on

// Of the newest dialect first.
struct Table {
  Dialect since;
  std::span<const Route> routes;
};
constexpr std::array<Table, 2> kTables{{{Dialect::k34, kRoutes34}, {Dialect::k33, kRoutes}}};

}  // namespace

const Route* FindRoute(std::string_view type, Dialect dialect) {
  for (const auto& table : kTables) {
    if (table.since > dialect) continue;
    const auto found = std::find_if(table.routes.begin(), table.routes.end(),
                                    [&](const Route& route) { return route.type == type; });
    if (found != table.routes.end()) return &*found;
  }
  return nullptr;
}

std::vector<Route> AllRoutes(Dialect dialect) {
  std::vector<Route> all;
  for (const auto& table : kTables) {
    for (const auto& route : table.routes)
      if (FindRoute(route.type, dialect) == &route) all.push_back(route);
  }
  return all;
}

}  // namespace zkexec

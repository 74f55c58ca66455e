-- Health of Workload and Site for Argo CD, by the conditions that kstatus reads.
-- In the ConfigMap argocd-cm this text is the value of both
--   resource.customizations.health.kapok.dev_Workload
--   resource.customizations.health.kapok.dev_Site
-- Flux and `kubectl wait` need nothing: they read the same conditions by themselves.

local health = {status = "Progressing", message = "the scheduler has not seen it yet"}
local status = obj.status
if status == nil or status.conditions == nil then
  return health
end
local generation = obj.metadata.generation
if generation ~= nil and status.observedGeneration ~= generation then
  health.message = "the scheduler has not seen this generation yet"
  return health
end
if obj.metadata.deletionTimestamp ~= nil then
  health.message = status.reason or "being deleted"
  return health
end

local found = {}
for _, condition in ipairs(status.conditions) do
  found[condition.type] = condition
end
local ready, stalled = found.Ready, found.Stalled

if stalled ~= nil and stalled.status == "True" then
  health.status = "Degraded"
  health.message = stalled.message or stalled.reason
elseif obj.spec ~= nil and obj.spec.paused == true then
  health.status = "Suspended"
  health.message = status.reason or "paused"
elseif status.phase == "Degraded" then
  health.status = "Degraded"
  health.message = status.reason or ""
elseif ready ~= nil and ready.status == "True" then
  health.status = "Healthy"
  health.message = status.sites or ""
  if ready.message ~= nil and ready.message ~= "" then -- a drift that spec.onDrift leaves
    health.message = ready.message
  end
elseif ready ~= nil then
  health.message = ready.message or ready.reason
end
return health

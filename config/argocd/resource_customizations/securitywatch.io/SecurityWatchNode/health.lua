-- A node's report has no spec, so it never lags behind one.
local health = { status = "Progressing", message = "Waiting for the node's probe" }

if obj.status ~= nil and obj.status.conditions ~= nil then
  for _, condition in ipairs(obj.status.conditions) do
    if condition.type == "Ready" then
      health.message = condition.reason .. ": " .. condition.message
      if condition.status == "True" then
        health.status = "Healthy"
      elseif condition.status == "False" then
        health.status = "Degraded"
      end
    end
  end
end

return health

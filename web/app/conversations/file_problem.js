// @ts-check
// What is wrong with a file, in the language of the page.

import { t } from "../i18n.js";
import { FileProblem } from "./transfer.js";

/** @param {unknown} thrown */
export function fileProblem(thrown) {
  if (!(thrown instanceof FileProblem)) return thrown instanceof Error ? thrown.message : String(thrown);
  const { where, expected, found, fields } = thrown;
  return t("file.problem", {
    where: where || t("file.all"),
    expected: t(`file.expected.${expected}`, fields),
    found: found || t("file.nothing"),
  });
}

"""The code behind the manifests: one short function a tool, each named here by hand so that a reader finds it."""

from collections.abc import Mapping
from typing import Any

from tools.handlers.activity import CALL_GET
from tools.handlers.agents import Introduction, agent_handlers
from tools.handlers.analytics import ANALYTICS_REPORT
from tools.handlers.approvals import APPROVAL_CANCEL, APPROVAL_DECIDE, APPROVAL_EXPIRE, APPROVAL_REMIND, CALL_SETTLE
from tools.handlers.audit import AUDIT_EXPORT, AUDIT_HEAD, AUDIT_PROVE
from tools.handlers.autonomy import AUTONOMY_QUERY, AUTONOMY_SET
from tools.handlers.budgets import BUDGET_QUERY, BUDGET_SET
from tools.handlers.conclusions import CALL_CONCLUDE
from tools.handlers.contents import DOCUMENT_CONTENT, DOCUMENT_LINK
from tools.handlers.delegations import DELEGATION_GIVE, DELEGATION_REVOKE
from tools.handlers.documents import PrepareFile, document_handlers
from tools.handlers.earned import AUTONOMY_PROPOSAL_DECIDE, AUTONOMY_REVIEW
from tools.handlers.evaluations import EVALUATION_RECORD
from tools.handlers.feedback import FEEDBACK_GIVE
from tools.handlers.figures import DOCUMENT_EXTRACT, DOCUMENT_LIST, FIGURE_LIST
from tools.handlers.identities import IDENTITY_LINK, IDENTITY_UNLINK
from tools.handlers.knowledge import KNOWLEDGE_READ, KNOWLEDGE_SEARCH, searching_with
from tools.handlers.pages import Fetch, page_handlers
from tools.handlers.policies import policy_handlers
from tools.handlers.preferences import PREFERENCE_FORGET, PREFERENCE_SET
from tools.handlers.privacy import PRIVACY_ERASE, PRIVACY_ERASE_STEP, PRIVACY_EXPORT, PRIVACY_EXPORT_OWN
from tools.handlers.releases import RELEASE_CHECK, RELEASE_SUBMIT, SIGNOFF_RECORD
from tools.handlers.removal import Grace, as_usual
from tools.handlers.schedules import SCHEDULE_CREATE, SCHEDULE_DELETE, SCHEDULE_LIST, SCHEDULE_UPDATE
from tools.handlers.sources import SourceKinds, source_handlers
from tools.handlers.tasks import (
    TASK_CREATE,
    TASK_GET,
    TASK_LIST,
    TASK_REMIND,
    TASK_RUN,
    TASK_RUN_CANCEL,
    TASK_RUN_GET,
    TASK_UPDATE,
)
from tools.handlers.trust import DOCUMENT_TRUST_SET
from tools.handlers.workspaces import workspace_handlers
from tools.work import Handler

__all__ = [
    "HANDLERS",
    "Fetch",
    "Grace",
    "Introduction",
    "PrepareFile",
    "SourceKinds",
    "agent_handlers",
    "as_usual",
    "document_handlers",
    "page_handlers",
    "policy_handlers",
    "searching_with",
    "source_handlers",
    "workspace_handlers",
]

HANDLERS: Mapping[str, Handler[Any]] = {
    "analytics_report": ANALYTICS_REPORT,
    "approval_cancel": APPROVAL_CANCEL,
    "approval_decide": APPROVAL_DECIDE,
    "approval_expire": APPROVAL_EXPIRE,
    "approval_remind": APPROVAL_REMIND,
    "audit_export": AUDIT_EXPORT,
    "audit_head": AUDIT_HEAD,
    "audit_prove": AUDIT_PROVE,
    "autonomy_proposal_decide": AUTONOMY_PROPOSAL_DECIDE,
    "autonomy_query": AUTONOMY_QUERY,
    "autonomy_review": AUTONOMY_REVIEW,
    "autonomy_set": AUTONOMY_SET,
    "budget_query": BUDGET_QUERY,
    "budget_set": BUDGET_SET,
    "call_conclude": CALL_CONCLUDE,
    "call_get": CALL_GET,
    "call_settle": CALL_SETTLE,
    "delegation_give": DELEGATION_GIVE,
    "delegation_revoke": DELEGATION_REVOKE,
    "document_content": DOCUMENT_CONTENT,
    "document_extract": DOCUMENT_EXTRACT,
    "document_link": DOCUMENT_LINK,
    "document_list": DOCUMENT_LIST,
    "document_trust_set": DOCUMENT_TRUST_SET,
    "evaluation_record": EVALUATION_RECORD,
    "figure_list": FIGURE_LIST,
    "feedback_give": FEEDBACK_GIVE,
    "identity_link": IDENTITY_LINK,
    "identity_unlink": IDENTITY_UNLINK,
    "knowledge_read": KNOWLEDGE_READ,
    "knowledge_search": KNOWLEDGE_SEARCH,
    "preference_forget": PREFERENCE_FORGET,
    "preference_set": PREFERENCE_SET,
    "privacy_erase": PRIVACY_ERASE,
    "privacy_erase_step": PRIVACY_ERASE_STEP,
    "privacy_export": PRIVACY_EXPORT,
    "privacy_export_own": PRIVACY_EXPORT_OWN,
    "release_check": RELEASE_CHECK,
    "release_submit": RELEASE_SUBMIT,
    "schedule_create": SCHEDULE_CREATE,
    "schedule_delete": SCHEDULE_DELETE,
    "schedule_list": SCHEDULE_LIST,
    "schedule_update": SCHEDULE_UPDATE,
    "signoff_record": SIGNOFF_RECORD,
    "task_create": TASK_CREATE,
    "task_get": TASK_GET,
    "task_list": TASK_LIST,
    "task_remind": TASK_REMIND,
    "task_run": TASK_RUN,
    "task_run_cancel": TASK_RUN_CANCEL,
    "task_run_get": TASK_RUN_GET,
    "task_update": TASK_UPDATE,
    **workspace_handlers(),
}
"""All tools but those of `document_handlers`, which need a door's bytes, of `page_handlers` and `source_handlers`,
which ask strangers, and of `agent_handlers`, which know names.

Those of Slack are as on a server without Slack.
"""

"""Identities: who a token of an issuer is in this organization; step 7 of the path of a call."""

from domain.identities.model import Holder, Identity
from tools.handlers.arguments import Arguments
from tools.outcomes import Json
from tools.work import CallContext, Handler


class IdentityLink(Arguments):
    issuer: str
    subject: str
    user: str


class IdentityUnlink(Arguments):
    issuer: str
    subject: str


async def identity_link(arguments: IdentityLink, context: CallContext) -> Json:
    """Effect  writes identities."""
    identity = Identity(issuer=arguments.issuer, subject=arguments.subject)
    by = context.principal.principal_id
    return _shown(identity, await context.work.identities.link(identity, arguments.user, by=by, now=context.now))


async def identity_unlink(arguments: IdentityUnlink, context: CallContext) -> Json:
    """Effect  writes identities."""
    identity = Identity(issuer=arguments.issuer, subject=arguments.subject)
    return _shown(identity, await context.work.identities.unlink(identity))


def _shown(identity: Identity, holder: Holder) -> Json:
    return {"issuer": identity.issuer, "subject": identity.subject, "user": holder.email}


IDENTITY_LINK = Handler(arguments=IdentityLink, work=identity_link)
IDENTITY_UNLINK = Handler(arguments=IdentityUnlink, work=identity_unlink)

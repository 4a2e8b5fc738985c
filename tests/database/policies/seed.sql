-- Two firms with the same shape, :n telling them apart, one row at least in every table; run as glow_owner.
INSERT INTO organizations (organization_id, slug, name) VALUES (:org, 'firm-:n', 'Firm :n');
INSERT INTO users (user_id, kind, email, display_name) VALUES
    (:partner, 'person', 'partner@firm-:n.example', 'Partner'),
    (:employee, 'person', 'employee@firm-:n.example', 'Employee'),
    (:client, 'person', 'client@firm-:n.example', 'Client'),
    (:service, 'service_account', 'hub@firm-:n.example', 'Hub');
INSERT INTO memberships (organization_id, user_id, role) VALUES
    (:org, :partner, 'PARTNER'), (:org, :employee, 'EMPLOYEE'), (:org, :client, 'CLIENT'),
    (:org, :service, 'SERVICE_ACCOUNT');
INSERT INTO engagements (organization_id, engagement_id, name, client_name, kind) VALUES
    (:org, :engagement, 'Audit', 'Client', 'audit'), (:org, :other_engagement, 'Tax', 'Other client', 'tax');
INSERT INTO engagement_members (organization_id, engagement_id, user_id) VALUES (:org, :engagement, :client);
INSERT INTO knowledge_sources (organization_id, source_id, kind, name) VALUES (:org, :thing, 'folder', 'Folder');
INSERT INTO knowledge_source_changes (organization_id, source_id, kind, path, audience, at)
    VALUES (:org, :thing, 'added', 'a.md', 'firm', now());
INSERT INTO knowledge_source_items (organization_id, source_id, item_key, path, version, audience, listing, held_path,
        held_version, held_audience)
    VALUES (:org, :thing, 'a', 'a.md', '1', 'firm', 1, 'a.md', '1', 'firm');
INSERT INTO knowledge_reader_sets (organization_id, digest) VALUES (:org, '\x00');
INSERT INTO knowledge_readers (organization_id, reader_set, email_sha256)
    SELECT organization_id, reader_set, '\x00' FROM knowledge_reader_sets WHERE organization_id = :org;
INSERT INTO knowledge_documents (organization_id, document_id, title, uri, media_type, audience, engagement_id, trust,
        status, size_bytes, content_sha256, text, chunk_count, term_count, uploaded_by, created_at, updated_at,
        analysis_version) VALUES
    (:org, :thing, 'Policy', 'glow:policy', 'text/plain', 'firm', NULL, 'internal', 'ready', 4, '', 'text', 1, 1, :partner,
        now(), now(), 1000),
    (:org, :client_thing, 'Request list', 'glow:list', 'text/plain', 'client', :engagement, 'internal', 'ready', 4, '',
        'text', 1, 1, :partner, now(), now(), 1000),
    (:org, :other_client_thing, 'Other list', 'glow:other', 'text/plain', 'client', :other_engagement, 'internal',
        'ready', 4, '', 'text', 1, 1, :partner, now(), now(), 1000);
INSERT INTO knowledge_files (organization_id, document_id, content) VALUES
    (:org, :thing, 'text'), (:org, :client_thing, 'text'), (:org, :other_client_thing, 'text');
INSERT INTO knowledge_chunks (organization_id, chunk_id, document_id, ordinal, start_offset, end_offset, text,
        token_count, length, audience, engagement_id, trust)
    SELECT organization_id, document_id, document_id, 0, 0, 4, 'text', 1, 1, audience, engagement_id, trust
    FROM knowledge_documents WHERE organization_id = :org;
INSERT INTO knowledge_terms (organization_id, term) VALUES (:org, 'text');
INSERT INTO knowledge_postings (organization_id, term_id, chunk_id, frequency, length, audience, engagement_id, trust)
    SELECT c.organization_id, t.term_id, c.chunk_id, 1, 1, c.audience, c.engagement_id, c.trust
    FROM knowledge_chunks c JOIN knowledge_terms t USING (organization_id) WHERE c.organization_id = :org;
INSERT INTO knowledge_embeddings (organization_id, chunk_id, model, embedding, audience, engagement_id)
    SELECT organization_id, chunk_id, 'model', '[1,2,3]', audience, engagement_id
    FROM knowledge_chunks WHERE organization_id = :org;
INSERT INTO knowledge_staged (organization_id, document_id, prepared, prepared_as, chunk_count, staged_at)
    SELECT organization_id, document_id, '{}', '1/320', 1, now() + interval '1 day' FROM knowledge_documents WHERE organization_id = :org;
INSERT INTO knowledge_kept_vectors (organization_id, document_id, model, digest, embedding)
    SELECT organization_id, document_id, 'model', '\x00', '[1,2,3]' FROM knowledge_documents WHERE organization_id = :org;
INSERT INTO tasks (organization_id, task_id, title, status, audience, engagement_id, created_by, created_at, updated_at)
    VALUES (:org, :thing, 'Task', 'open', 'firm', NULL, :employee, now(), now()),
           (:org, :client_thing, 'Client task', 'open', 'client', :engagement, :employee, now(), now());
INSERT INTO task_runs (organization_id, task_run_id, task_id, kind, call_id, requested_by, created_at)
    VALUES (:org, :thing, :thing, 'refresh_analytics', :thing, :employee, now());
INSERT INTO task_run_progress (organization_id, task_run_id, status, started_at, updated_at)
    VALUES (:org, :thing, 'running', now(), now());
INSERT INTO task_run_cancellations (organization_id, task_run_id, call_id, cancelled_by, cancelled_at)
    VALUES (:org, :thing, :thing, :employee, now());
INSERT INTO task_run_answers (organization_id, task_run_id, conversation_id, run_id, attempt)
    VALUES (:org, :thing, :thing, :thing, 0);
INSERT INTO schedules (organization_id, schedule_id, task_id, cron, time_zone, created_by, created_at, updated_at)
    VALUES (:org, :thing, :thing, '0 7 * * *', 'UTC', :partner, now(), now());
INSERT INTO schedule_progress (organization_id, schedule_id) VALUES (:org, :thing);
INSERT INTO schedule_makers (organization_id, call_id, principal_id) VALUES (:org, :thing, :partner);
INSERT INTO budget_settings (organization_id, setting_id, scope, measure, most, changed_by, changed_at, reason)
    VALUES (:org, :thing, 'organization', 'calls:irreversible', NULL, :partner, now(), 'Seeded.');
INSERT INTO budget_use (organization_id, scope, subject, measure, period, begun_on, used, reserved)
    VALUES (:org, 'organization', :org, 'calls:irreversible', '2026-01-01', '2026-01-01', 1, 1);
INSERT INTO budget_reservations (organization_id, reservation_id, scope, subject, measure, period, amount, expires_at)
    VALUES (:org, :thing, 'organization', :org, 'calls:irreversible', '2026-01-01', 1, now() + interval '1 day');
INSERT INTO autonomy_settings (organization_id, setting_id, scope, level, changed_by, changed_at)
    VALUES (:org, :thing, 'organization', 2, :partner, now());
INSERT INTO organization_policies (organization_id, change_id, policy_id, reason, changed_by, changed_at)
    VALUES (:org, :thing, 'taken_back', 'there is none any more', :partner, now());
INSERT INTO release_controls (organization_id, name, needs) VALUES (:org, 'plan_freeze', '{PLAN_REVIEW}');
INSERT INTO sign_offs (organization_id, sign_off_id, engagement_id, kind, decision, subject, version, signed_by,
        signed_role, signed_at)
    VALUES (:org, :thing, :engagement, 'PLAN_REVIEW', 'accept', 'plan', '1', :partner, 'PARTNER', now());
INSERT INTO releases (organization_id, release_id, control, engagement_id, state, evidence, sign_off_ids, call_id,
        released_by, released_at)
    VALUES (:org, :thing, 'plan_freeze', :engagement, 'satisfied', '[]', '{}', :thing, :partner, now());
INSERT INTO approvals (organization_id, approval_id, call_id, tool, manifest_digest, policy_digest, arguments,
        arguments_digest, reasons, requested_by, requested_kind, requested_mode, requested_door, requested_scheduled,
        agent_ceiling, needs_role, four_eyes, state, created_at, expires_at)
    VALUES (:org, :thing, :thing, 'task_create', '', '', '{}', '', '{}', :employee, 'person', 'agent', 'chat', false, 3,
        'EMPLOYEE', false, 'pending', now(), now() + interval '1 day');
INSERT INTO delegations (organization_id, delegation_id, delegator_id, delegate_id, starts_at, ends_at, reason, given_at)
    VALUES (:org, :thing, :employee, :partner, now() - interval '2 days', now() - interval '1 day', 'away', now());
INSERT INTO conversations (organization_id, conversation_id, owner_id, title, agent, created_at, updated_at)
    VALUES (:org, :thing, :employee, 'Title', 'assistant', now(), now());
INSERT INTO runs (organization_id, run_id, conversation_id, owner_id, agent, model, door, status, heartbeat_at,
        created_at)
    VALUES (:org, :thing, :thing, :employee, 'assistant', 'offline', 'chat', 'running', now(), now());
INSERT INTO messages (organization_id, message_id, conversation_id, run_id, ordinal, role, content, created_at)
    VALUES (:org, :thing, :thing, :thing, 1, 'user', '{"text":"text"}', now());
INSERT INTO evaluations (organization_id, call_id, kind, set_name, set_digest, conditions, figures, questions, measured_at)
    VALUES (:org, :thing, 'retrieval', 'Set', repeat('0', 64), '{}', '{}', '{}', now());
INSERT INTO feedback (organization_id, run_id, given_by, rating, comment, given_at, agent, model)
    VALUES (:org, :thing, :employee, 'up', 'Good', now(), 'assistant', 'offline');
INSERT INTO run_events (organization_id, run_id, sequence, type, data) VALUES (:org, :thing, 1, 'run.started', '{}');
INSERT INTO activity_events (organization_id, event_id, kind, opens, occurred_at, call_id, tool, effect, door,
        principal_id, principal_kind, mode, attended, facts)
    VALUES (:org, :thing, 'tool.completed', true, now(), :thing, 'task_list', 'read', 'chat', :employee, 'person',
        'agent', true, '{}');
INSERT INTO activity_payloads (organization_id, event_id, salt, arguments) VALUES (:org, :thing, '', '{}');
INSERT INTO activity_taints (organization_id, event_id, call_id, principal_id, door, mode, conversation_id, trust, firm)
    VALUES (:org, :thing, :thing, :employee, 'chat', 'agent', :thing, 'internal', true);
INSERT INTO idempotency_keys (organization_id, principal_id, mode, route, key, part, content_digest, answer)
    VALUES (:org, :employee, 'person', 'POST /v1/tasks', 'key', 0, '', '{}');
INSERT INTO document_figures (organization_id, figure_id, document_id, label, printed, amount, unit, start_at, end_at,
        call_id, found_at)
    VALUES (:org, :thing, :thing, 'Cash', 'EUR 1', 1, 'EUR', 0, 5, :thing, now());
INSERT INTO task_reminders (organization_id, reminder_id, task_id, text, call_id, reminded_by, reminded_at)
    VALUES (:org, :thing, :thing, 'Please', :thing, :employee, now());
INSERT INTO call_intents (organization_id, call_id, principal_id, principal_kind, mode, door, scheduled, tool, arguments,
        agent_ceiling, begun_at)
    VALUES (:org, :thing, :employee, 'person', 'agent', 'chat', false, 'letter_send', '{}', 3, now());
INSERT INTO identities (organization_id, issuer, subject, user_id, linked_by, linked_at)
    VALUES (:org, 'https://sign-in.example', 'seeded-:n', :employee, :partner, now());
INSERT INTO slack_teams (organization_id, team_id, name, bot_user_id, connected_by, connected_at)
    VALUES (:org, 'TFIRM:n', 'Firm', 'UBOT', :partner, now());
INSERT INTO slack_channels (organization_id, team_id, channel_id, agent, set_by, set_at)
    VALUES (:org, 'TFIRM:n', 'CFIRM', 'assistant', :partner, now());
INSERT INTO slack_events (organization_id, team_id, event_id, payload, lease_until, outcome, done_at)
    VALUES (:org, 'TFIRM:n', 'Ev1', '', now(), 'answered', now());
INSERT INTO slack_threads (organization_id, team_id, channel_id, thread_ts, principal_id, conversation_id)
    VALUES (:org, 'TFIRM:n', 'CFIRM', '1.1', :employee, :thing);
INSERT INTO slack_approvals (organization_id, approval_id, team_id, channel_id, message_ts, principal_id, settled_at)
    VALUES (:org, :thing, 'TFIRM:n', 'CFIRM', '1.2', :employee, now());
INSERT INTO slack_direct_questions (organization_id, approval_id, principal_id, occasion, team_id, channel_id, message_ts,
        settled_at)
    VALUES (:org, :thing, :partner, 'asked', 'TFIRM:n', 'DFIRM', '1.3', now());
INSERT INTO preferences (organization_id, preference_id, user_id, words, call_id, created_at, updated_at)
    VALUES (:org, :thing, :partner, 'Answer briefly.', :thing, now(), now());
INSERT INTO conversation_summaries (organization_id, summary_id, conversation_id, last_run_id, turns, trust, content, model,
        input_tokens, output_tokens, created_at)
    VALUES (:org, :thing, :thing, :thing, 1, 'internal', '{}', 'offline', 0, 0, now());
INSERT INTO ledger_keys (organization_id, key_id, public_key, from_size, introduced_at)
    VALUES (:org, repeat('0', 64), decode(repeat('00', 32), 'hex'), 1, now());
INSERT INTO ledger_leaves (organization_id, leaf_index, event_id, leaf_hash, chain)
    VALUES (:org, 0, :thing, decode(repeat('00', 32), 'hex'), decode(repeat('00', 32), 'hex'));
INSERT INTO ledger_nodes (organization_id, level, node_index, hash) VALUES (:org, 40, 0, decode(repeat('00', 32), 'hex'));
INSERT INTO ledger_heads (organization_id, size, root, chain, sealed_at, key_id, signature)
    VALUES (:org, 1, decode(repeat('00', 32), 'hex'), decode(repeat('00', 32), 'hex'), now(), repeat('0', 64),
        decode(repeat('00', 64), 'hex'));
INSERT INTO ledger_rotations (organization_id, after_size, from_key_id, to_key_id, to_public_key, rotated_at, from_signature,
        to_signature)
    VALUES (:org, 1, repeat('0', 64), repeat('1', 64), decode(repeat('11', 32), 'hex'), now(),
        decode(repeat('00', 64), 'hex'), decode(repeat('11', 64), 'hex'));
INSERT INTO ledger_sendings (organization_id, place, due_at) VALUES (:org, 'nowhere', now());
INSERT INTO erasures (organization_id, erasure_id, user_id, requested_by, call_id, requested_at, state, finished_at)
    VALUES (:org, :thing, :client, :partner, :thing, now(), 'done', now());
INSERT INTO autonomy_calls (organization_id, call_id, tool, effect, mark, ended_index, ended_at, made)
    VALUES (:org, :thing, 'letter_send', 'prepare', 'unasked', 0, now(), :thing);
INSERT INTO autonomy_records (organization_id, tool, effect, approved, rejected, failed, reversed, bound)
    VALUES (:org, 'letter_send', 'prepare', 0, 0, 0, 0, 0);
INSERT INTO autonomy_progress (organization_id, through, rules, reviewed_at)
    VALUES (:org, 0, '{"reversal_days":30,"window_calls":200,"z":1.96}', now());
INSERT INTO autonomy_proposals (organization_id, proposal_id, tool, from_level, to_level, evidence, through, state,
        proposed_by, proposed_at, decided_at)
    VALUES (:org, :thing, 'letter_send', 1, 2,
        '{"approved": 59, "rejected": 1, "failed": 0, "reversed": 0, "bound": 0.91, "needed": 0.9, "since": null, "rules": {"z": 1.96, "window_calls": 200, "reversal_days": 30}, "calls": []}',
        0, 'withdrawn', :service, now(), now());

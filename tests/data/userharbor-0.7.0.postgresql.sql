CREATE TABLE public.userharbor_email_verifications (
    token_hash character varying(128) NOT NULL,
    username character varying(255) NOT NULL,
    expires_at timestamp with time zone NOT NULL
);
CREATE TABLE public.userharbor_password_resets (
    token_hash character varying(128) NOT NULL,
    username character varying(255) NOT NULL,
    expires_at timestamp with time zone NOT NULL
);
CREATE TABLE public.userharbor_permissions (
    permission character varying(255) NOT NULL
);
CREATE TABLE public.userharbor_role_permissions (
    role character varying(255) NOT NULL,
    permission character varying(255) NOT NULL
);
CREATE TABLE public.userharbor_roles (
    role character varying(255) NOT NULL
);
CREATE TABLE public.userharbor_sessions (
    token_hash character varying(128) NOT NULL,
    username character varying(255) NOT NULL,
    expires_at timestamp with time zone NOT NULL
);
CREATE TABLE public.userharbor_user_roles (
    username character varying(255) NOT NULL,
    role character varying(255) NOT NULL
);
CREATE TABLE public.userharbor_users (
    username character varying(255) NOT NULL,
    username_key character varying(255) NOT NULL,
    email character varying(320) NOT NULL,
    password_hash character varying(512) NOT NULL,
    verified boolean NOT NULL
);
INSERT INTO public.userharbor_email_verifications VALUES ('Joe-verification', 'Joe', '2030-01-01 17:30:00.123456+05:30');
INSERT INTO public.userharbor_password_resets VALUES ('Jane-reset', 'Jane', '2030-01-01 17:30:00.123456+05:30');
INSERT INTO public.userharbor_password_resets VALUES ('josé-superseded', 'josé', '2030-01-01 17:30:00.123456+05:30');
INSERT INTO public.userharbor_password_resets VALUES ('josé-reset', 'josé', '2030-01-01 17:30:01.123456+05:30');
INSERT INTO public.userharbor_permissions VALUES ('articles.read');
INSERT INTO public.userharbor_permissions VALUES ('articles.write');
INSERT INTO public.userharbor_role_permissions VALUES ('admin', 'articles.read');
INSERT INTO public.userharbor_role_permissions VALUES ('admin', 'articles.write');
INSERT INTO public.userharbor_role_permissions VALUES ('Gäste', 'articles.read');
INSERT INTO public.userharbor_roles VALUES ('admin');
INSERT INTO public.userharbor_roles VALUES ('Gäste');
INSERT INTO public.userharbor_sessions VALUES ('Jane-session', 'Jane', '2030-01-01 17:30:00.123456+05:30');
INSERT INTO public.userharbor_sessions VALUES ('Straße-session', 'Straße', '2030-01-01 17:30:00.123456+05:30');
INSERT INTO public.userharbor_sessions VALUES ('josé-session', 'josé', '2030-01-01 17:30:00.123456+05:30');
INSERT INTO public.userharbor_sessions VALUES ('Joe-session', 'Joe', '2030-01-01 17:30:00.123456+05:30');
INSERT INTO public.userharbor_sessions VALUES ('Jane-naive', 'Jane', '2031-01-01 05:30:00+05:30');
INSERT INTO public.userharbor_user_roles VALUES ('Jane', 'admin');
INSERT INTO public.userharbor_user_roles VALUES ('Jane', 'Gäste');
INSERT INTO public.userharbor_user_roles VALUES ('Straße', 'Gäste');
INSERT INTO public.userharbor_users VALUES ('Joe', 'joe', 'Joe@Example.org', 'hash of Joe', false);
INSERT INTO public.userharbor_users VALUES ('Jane', 'jane', 'Jane@Example.org', 'hash of Jane', true);
INSERT INTO public.userharbor_users VALUES ('Straße', 'strasse', 'Straße@Example.org', 'hash of Straße', true);
INSERT INTO public.userharbor_users VALUES ('josé', 'josé', 'josé@Example.org', 'hash of josé', true);
ALTER TABLE ONLY public.userharbor_email_verifications
    ADD CONSTRAINT userharbor_email_verifications_pkey PRIMARY KEY (token_hash);
ALTER TABLE ONLY public.userharbor_password_resets
    ADD CONSTRAINT userharbor_password_resets_pkey PRIMARY KEY (token_hash);
ALTER TABLE ONLY public.userharbor_permissions
    ADD CONSTRAINT userharbor_permissions_pkey PRIMARY KEY (permission);
ALTER TABLE ONLY public.userharbor_role_permissions
    ADD CONSTRAINT userharbor_role_permissions_pkey PRIMARY KEY (role, permission);
ALTER TABLE ONLY public.userharbor_roles
    ADD CONSTRAINT userharbor_roles_pkey PRIMARY KEY (role);
ALTER TABLE ONLY public.userharbor_sessions
    ADD CONSTRAINT userharbor_sessions_pkey PRIMARY KEY (token_hash);
ALTER TABLE ONLY public.userharbor_user_roles
    ADD CONSTRAINT userharbor_user_roles_pkey PRIMARY KEY (username, role);
ALTER TABLE ONLY public.userharbor_users
    ADD CONSTRAINT userharbor_users_pkey PRIMARY KEY (username);
CREATE INDEX ix_userharbor_email_verifications_username ON public.userharbor_email_verifications USING btree (username);
CREATE INDEX ix_userharbor_password_resets_username ON public.userharbor_password_resets USING btree (username);
CREATE INDEX ix_userharbor_sessions_username ON public.userharbor_sessions USING btree (username);
CREATE UNIQUE INDEX ix_userharbor_users_email ON public.userharbor_users USING btree (email);
CREATE UNIQUE INDEX ix_userharbor_users_username_key ON public.userharbor_users USING btree (username_key);
ALTER TABLE ONLY public.userharbor_email_verifications
    ADD CONSTRAINT userharbor_email_verifications_username_fkey FOREIGN KEY (username) REFERENCES public.userharbor_users(username) ON DELETE CASCADE;
ALTER TABLE ONLY public.userharbor_password_resets
    ADD CONSTRAINT userharbor_password_resets_username_fkey FOREIGN KEY (username) REFERENCES public.userharbor_users(username) ON DELETE CASCADE;
ALTER TABLE ONLY public.userharbor_role_permissions
    ADD CONSTRAINT userharbor_role_permissions_permission_fkey FOREIGN KEY (permission) REFERENCES public.userharbor_permissions(permission) ON DELETE CASCADE;
ALTER TABLE ONLY public.userharbor_role_permissions
    ADD CONSTRAINT userharbor_role_permissions_role_fkey FOREIGN KEY (role) REFERENCES public.userharbor_roles(role) ON DELETE CASCADE;
ALTER TABLE ONLY public.userharbor_sessions
    ADD CONSTRAINT userharbor_sessions_username_fkey FOREIGN KEY (username) REFERENCES public.userharbor_users(username) ON DELETE CASCADE;
ALTER TABLE ONLY public.userharbor_user_roles
    ADD CONSTRAINT userharbor_user_roles_role_fkey FOREIGN KEY (role) REFERENCES public.userharbor_roles(role) ON DELETE CASCADE;
ALTER TABLE ONLY public.userharbor_user_roles
    ADD CONSTRAINT userharbor_user_roles_username_fkey FOREIGN KEY (username) REFERENCES public.userharbor_users(username) ON DELETE CASCADE;

SET FOREIGN_KEY_CHECKS = 0;
CREATE TABLE `userharbor_email_verifications` (
  `token_hash` varchar(128) NOT NULL,
  `username` varchar(255) NOT NULL,
  `expires_at` datetime NOT NULL,
  PRIMARY KEY (`token_hash`),
  KEY `ix_userharbor_email_verifications_username` (`username`),
  CONSTRAINT `userharbor_email_verifications_ibfk_1` FOREIGN KEY (`username`) REFERENCES `userharbor_users` (`username`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
INSERT INTO `userharbor_email_verifications` VALUES ('Joe-verification','Joe','2030-01-01 12:00:00');
CREATE TABLE `userharbor_password_resets` (
  `token_hash` varchar(128) NOT NULL,
  `username` varchar(255) NOT NULL,
  `expires_at` datetime NOT NULL,
  PRIMARY KEY (`token_hash`),
  KEY `ix_userharbor_password_resets_username` (`username`),
  CONSTRAINT `userharbor_password_resets_ibfk_1` FOREIGN KEY (`username`) REFERENCES `userharbor_users` (`username`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
INSERT INTO `userharbor_password_resets` VALUES ('Jane-reset','Jane','2030-01-01 12:00:00');
INSERT INTO `userharbor_password_resets` VALUES ('josé-reset','josé','2030-01-01 12:00:01');
INSERT INTO `userharbor_password_resets` VALUES ('josé-superseded','josé','2030-01-01 12:00:00');
CREATE TABLE `userharbor_permissions` (
  `permission` varchar(255) NOT NULL,
  PRIMARY KEY (`permission`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
INSERT INTO `userharbor_permissions` VALUES ('articles.read');
INSERT INTO `userharbor_permissions` VALUES ('articles.write');
CREATE TABLE `userharbor_role_permissions` (
  `role` varchar(255) NOT NULL,
  `permission` varchar(255) NOT NULL,
  PRIMARY KEY (`role`,`permission`),
  KEY `permission` (`permission`),
  CONSTRAINT `userharbor_role_permissions_ibfk_1` FOREIGN KEY (`role`) REFERENCES `userharbor_roles` (`role`) ON DELETE CASCADE,
  CONSTRAINT `userharbor_role_permissions_ibfk_2` FOREIGN KEY (`permission`) REFERENCES `userharbor_permissions` (`permission`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
INSERT INTO `userharbor_role_permissions` VALUES ('admin','articles.read');
INSERT INTO `userharbor_role_permissions` VALUES ('admin','articles.write');
INSERT INTO `userharbor_role_permissions` VALUES ('Gäste','articles.read');
CREATE TABLE `userharbor_roles` (
  `role` varchar(255) NOT NULL,
  PRIMARY KEY (`role`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
INSERT INTO `userharbor_roles` VALUES ('admin');
INSERT INTO `userharbor_roles` VALUES ('Gäste');
CREATE TABLE `userharbor_sessions` (
  `token_hash` varchar(128) NOT NULL,
  `username` varchar(255) NOT NULL,
  `expires_at` datetime NOT NULL,
  PRIMARY KEY (`token_hash`),
  KEY `ix_userharbor_sessions_username` (`username`),
  CONSTRAINT `userharbor_sessions_ibfk_1` FOREIGN KEY (`username`) REFERENCES `userharbor_users` (`username`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
INSERT INTO `userharbor_sessions` VALUES ('Jane-naive','Jane','2031-01-01 00:00:00');
INSERT INTO `userharbor_sessions` VALUES ('Jane-session','Jane','2030-01-01 12:00:00');
INSERT INTO `userharbor_sessions` VALUES ('Joe-session','Joe','2030-01-01 12:00:00');
INSERT INTO `userharbor_sessions` VALUES ('josé-session','josé','2030-01-01 12:00:00');
INSERT INTO `userharbor_sessions` VALUES ('Straße-session','Straße','2030-01-01 12:00:00');
CREATE TABLE `userharbor_user_roles` (
  `username` varchar(255) NOT NULL,
  `role` varchar(255) NOT NULL,
  PRIMARY KEY (`username`,`role`),
  KEY `role` (`role`),
  CONSTRAINT `userharbor_user_roles_ibfk_1` FOREIGN KEY (`username`) REFERENCES `userharbor_users` (`username`) ON DELETE CASCADE,
  CONSTRAINT `userharbor_user_roles_ibfk_2` FOREIGN KEY (`role`) REFERENCES `userharbor_roles` (`role`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
INSERT INTO `userharbor_user_roles` VALUES ('Jane','admin');
INSERT INTO `userharbor_user_roles` VALUES ('Jane','Gäste');
INSERT INTO `userharbor_user_roles` VALUES ('Straße','Gäste');
CREATE TABLE `userharbor_users` (
  `username` varchar(255) NOT NULL,
  `username_key` varchar(255) NOT NULL,
  `email` varchar(320) NOT NULL,
  `password_hash` varchar(512) NOT NULL,
  `verified` tinyint(1) NOT NULL,
  PRIMARY KEY (`username`),
  UNIQUE KEY `ix_userharbor_users_email` (`email`),
  UNIQUE KEY `ix_userharbor_users_username_key` (`username_key`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
INSERT INTO `userharbor_users` VALUES ('Jane','jane','Jane@Example.org','hash of Jane',1);
INSERT INTO `userharbor_users` VALUES ('Joe','joe','Joe@Example.org','hash of Joe',0);
INSERT INTO `userharbor_users` VALUES ('josé','josé','josé@Example.org','hash of josé',1);
INSERT INTO `userharbor_users` VALUES ('Straße','strasse','Straße@Example.org','hash of Straße',1);
